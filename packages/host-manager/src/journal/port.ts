/**
 * Port Journal: what a host manager must not forget.
 *
 * - J1 `commit` is all or nothing, and done only once it would survive a power cut; a later one is never done before an
 *   earlier one.
 * - J2 `load` gives what was committed, also after the process was killed in the middle of a commit.
 * - J3 one owner at a time: opening it twice is refused.
 */
import type { Result } from "@muster/base";
import type { Change } from "../core/event.ts";
import type { JournalContent } from "../core/state.ts";

/** Why a journal cannot be used, and what to do, for people. */
export type JournalFault = { readonly kind: "locked" | "damaged" | "unusable"; readonly message: string };

export type Journal = {
  /** Reads everything; called once, before the first commit. */
  load(): Promise<Result<JournalContent, JournalFault>>;
  /** Rejects when the changes may not be stored: what was decided upon them must then not be carried out. */
  commit(changes: readonly Change[]): Promise<void>;
  close(): Promise<void>;
};
