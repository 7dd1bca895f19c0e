import type { Command, CommandAction } from "@muster/protocol";

/**
 * A command on its way to a host, one at a time for a VM. Sent again under the same id until it is answered (H2). Not
 * stored: a restarted core orders anew under new ids, and the attempt rule of the hosts makes that harmless (H5).
 */
export type Flight = {
  command: Command;
  /** Up to when it grants a lease, in site time, grace included: the same for every try. */
  readonly leaseEndMs?: number | undefined;
  tries: number;
  /** `sent`: an answer is due until then; `resting`: the same is sent again then; `refused`: thought over again then. */
  stage: "sent" | "resting" | "refused";
  dueMs: number;
  /** The host spoke of the VM meanwhile: the answer, which stays the same for ever (H2), may be older than that. */
  overtaken: boolean;
};

/** An order that was answered with the state as it still was: not given again before that changes, or for a long time. */
export type Taken = { readonly action: CommandAction; readonly attempt: number; readonly untilMs: number };
