import type { Command } from "@muster/protocol";

/**
 * A command on its way to a host, one at a time for a VM. Sent again under the same id until it is answered (H2). Not
 * stored: a restarted core orders anew under new ids, and the attempt rule of the hosts makes that harmless (H5).
 */
export type Flight = {
  readonly command: Command;
  tries: number;
  /** `sent`: an answer is due until then; `resting`: the same is sent again then; `refused`: thought over again then. */
  stage: "sent" | "resting" | "refused";
  dueMs: number;
};
