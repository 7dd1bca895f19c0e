/**
 * Time of VMs lent to a peer in the current period, whatever their size. What ended is summed up in `PeerBook.used`, which the
 * peer's newest record carries across restarts; what runs is counted from its own record.
 */
import type { LenderPolicy } from "../peering/peering.ts";
import type { PeerBook } from "./lend-book.ts";
import type { LendTurn } from "./lend-turn.ts";
import type { LendRecord, UsedTime } from "./lender-contract.ts";

const DAY_MS = 24 * 3_600_000;
const PERIOD_DAYS = 30;
export const HOUR_MS = 3_600_000;

export function periodOf(policy: Pick<LenderPolicy, "periodDays"> | undefined, nowMs: number) {
  const lengthMs = (policy?.periodDays ?? PERIOD_DAYS) * DAY_MS;
  const sinceMs = Math.floor(nowMs / lengthMs) * lengthMs;
  return { sinceMs, endsMs: sinceMs + lengthMs };
}

/** What ran so far in the period. */
export function usedMs(peer: PeerBook, policy: LenderPolicy, nowMs: number): number {
  const { sinceMs } = periodOf(policy, nowMs);
  let used = peer.used?.sinceMs === sinceMs ? peer.used.vmMs : 0;
  for (const record of peer.open.values()) used += ranMs(record, sinceMs, nowMs);
  return used;
}

/** The same with what was granted already and has not run yet; `besides` leaves one out. */
export function promisedMs(peer: PeerBook, policy: LenderPolicy, nowMs: number, besides?: string): number {
  let promised = usedMs(peer, policy, nowMs);
  for (const { id, stage, leaseMs, expiresAtMs } of peer.open.values()) {
    if (id === besides) continue;
    if (stage === "held") promised += leaseMs;
    else if (stage === "leased") promised += Math.max(0, expiresAtMs - nowMs);
  }
  return promised;
}

/** The VM is gone: its time goes into the sum. To be called before the change that closes the record is stored. */
export function sumUp({ env }: LendTurn, peer: PeerBook, record: LendRecord): void {
  const { sinceMs } = periodOf(env.peering(peer.domain)?.lend, env.nowMs);
  const before = peer.used?.sinceMs === sinceMs ? peer.used.vmMs : 0;
  const used: UsedTime = { sinceMs, vmMs: before + ranMs(record, sinceMs, env.nowMs) };
  peer.used = used;
}

function ranMs({ leasedAtMs, stage }: LendRecord, sinceMs: number, nowMs: number): number {
  if (leasedAtMs === undefined || stage === "held") return 0;
  return Math.max(0, nowMs - Math.max(leasedAtMs, sinceMs));
}
