import type { VmRecord } from "../core/records.ts";

/** Whether what this host says of this attempt is what a live move makes it look like: it means nothing by itself. */
export function isMoving({ move, leftover }: VmRecord, host: string, attempt: number): boolean {
  // Only prepared there, and to be given up: it is no place of the VM.
  if (leftover?.host === host && leftover.attempt === attempt) return leftover.dead !== true;
  if (move === undefined) return false;
  const atSource = host === move.from && attempt === move.fromAttempt;
  // After the hand-over the destination is the VM's place like any other.
  return atSource || (host === move.to && attempt === move.attempt && move.stage !== "confirming");
}

/** Whether the host is its source or its destination. */
export function takesPart(move: VmRecord["move"], host: string): boolean {
  return move !== undefined && (move.from === host || move.to === host);
}
