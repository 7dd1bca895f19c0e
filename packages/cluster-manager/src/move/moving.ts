import type { VmRecord } from "../core/records.ts";

/** Whether what this host says of this attempt is what a live move makes it look like: it means nothing by itself. */
export function isMoving({ move }: VmRecord, host: string, attempt: number): boolean {
  if (move === undefined) return false;
  const atSource = host === move.from && attempt === move.fromAttempt;
  // After the hand-over the destination is the VM's place like any other.
  return atSource || (host === move.to && attempt === move.attempt && move.stage !== "confirming");
}
