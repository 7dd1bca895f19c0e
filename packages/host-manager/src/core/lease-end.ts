/**
 * B4: a lent VM ends by itself when nobody renews its lease, also when all managers of its site are gone. That is an order
 * which the leader gave with the start, for later: the host ends nothing that it was not ordered to end (H3).
 */
import { endPart } from "../move/move-part.ts";
import { type AttemptRecord, type HostState, isLive, type Job } from "./state.ts";
import type { Turn } from "./turn.ts";

export const LEASE_OVER = "its lease ended and nobody renewed it";

type Clock = Pick<Turn, "machineBoot" | "bootId" | "machineMs">;

/** Which count of the machine's clock this is. */
export function clockOf({ machineBoot, bootId }: Pick<Clock, "machineBoot" | "bootId">): string {
  return machineBoot ?? bootId;
}

/** What was granted under another count of the clock is over: nobody knows how long ago that was. */
export function isLeaseOver(clock: Clock, { lease }: AttemptRecord): boolean {
  return lease !== undefined && (lease.machineBoot !== clockOf(clock) || clock.machineMs >= lease.atMs);
}

/** Whether the order is the one that the lease itself carried. */
export function isOfLease({ subject }: AttemptRecord, { command }: Pick<Job, "command">): boolean {
  return subject?.lease !== undefined && command === subject.lease;
}

/** Has every VM stopped whose lease is over. What is being started already is stopped after that. */
export function endLeases(turn: Turn): void {
  for (const record of [...turn.attempts.map.values()].filter(mayEnd)) {
    const lease = record.subject?.lease;
    if (lease === undefined || !isLeaseOver(turn, record)) continue;
    if (record.move !== undefined && endPart(turn, record, record.move) !== "let-go") continue;
    turn.log("warn", LEASE_OVER, record.vm);
    turn.put({ ...(turn.attempts.get(record.vm) ?? record), intent: { action: "stop", command: lease } });
    turn.waiting.set(record.vm, true);
  }
}

/** When the next lease ends, in the time of the process; never where none does. */
export function leaseDueMs(state: HostState): number {
  let dueMs = Number.POSITIVE_INFINITY;
  // A step of a move that is under way is waited for: its end is looked at.
  for (const record of state.attempts.values())
    if (record.lease !== undefined && mayEnd(record) && state.moves.get(record.vm)?.underway === undefined)
      dueMs = Math.min(dueMs, record.lease.atMs);
  return dueMs - state.machineAheadMs;
}

function mayEnd(record: AttemptRecord): boolean {
  if (record.lease === undefined || !isLive(record) || record.state === "stopped") return false;
  return record.intent?.action !== "stop" && record.intent?.action !== "delete";
}
