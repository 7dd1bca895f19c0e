import type { BorrowRecord } from "@muster/broker";
import type { VmRecord } from "../core/records.ts";
import type { MoveRecord } from "./move-record.ts";

/** Whether what this host says of this attempt is what a live move makes it look like: it means nothing by itself. */
export function isMoving(record: VmRecord, host: string, attempt: number): boolean {
  const { move, leftover, lentMove, wanted, place } = record;
  // What ends with its lease is ended like any other.
  if (lentMove !== undefined && wanted !== "deleted" && place.kind === "host" && place.host === host)
    return attempt === record.attempt;
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

/**
 * What news of an exchange are to its VM: `move` where they are the move's alone, `both` where they say as well how the VM
 * stands at the peer, as for any other that runs there.
 */
export function newsOfMove(
  { move, place }: Pick<VmRecord, "move" | "place">,
  { id, stage }: Pick<BorrowRecord, "id" | "stage">,
): "none" | "move" | "both" {
  if (move?.peer?.exchange !== id) return "none";
  return place.kind === "peer" && stage !== "closed" && stage !== "releasing" ? "both" : "move";
}

/** Whether it goes back to where it was. */
export function isGivenUp({ stage }: MoveRecord): boolean {
  return stage === "abandoning" || stage === "resuming";
}
