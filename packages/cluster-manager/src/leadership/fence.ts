import { type Clock, err, isRunning, ok, type ProcessIdentity, type Result, signalProcess } from "@muster/base";
import { lockHolder } from "./store-lock.ts";

/** The leader whose process is to end. */
export type FenceTarget = ProcessIdentity & { readonly manager: string };

/** A process that was killed is gone within this time, or it hangs in the kernel and nobody can help. */
const GONE_WITHIN_MS = 5_000;
const LOOK_MS = 5;

/**
 * Ends the hung leader of a store on this machine, before its lock changes hands. Only the very process that the note
 * names, by number and start, and only while the kernel shows it as the holder of this store's lock: a note that is out of
 * date, or a number that went to somebody else, harms nobody.
 */
export async function fenceLeader(note: FenceTarget, storePath: string, clock: Clock): Promise<Result<void, string>> {
  const holder = lockHolder(storePath);
  if (holder.kind === "free") return ok(undefined);
  if (holder.kind === "unknown") return err("the kernel does not show who holds the store: is it on another machine?");
  if (holder.pid !== note.pid || !isRunning(note))
    return err(`process ${holder.pid} holds the store, and is not the leader that was last noted (${note.pid})`);
  if (!signalProcess(note, "SIGKILL"))
    return err(`process ${note.pid} of ${note.manager} may not be ended by this user; end it by hand`);
  const deadlineMs = clock.nowMs() + GONE_WITHIN_MS;
  while (isRunning(note) || lockHolder(storePath).kind === "held") {
    if (clock.nowMs() > deadlineMs) return err(`process ${note.pid} of ${note.manager} does not end`);
    await new Promise<void>((resolve) => clock.setTimer(LOOK_MS, resolve));
  }
  return ok(undefined);
}
