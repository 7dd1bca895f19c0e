/**
 * What hosts are told of the leases under which VMs run on them, so that they end them by themselves (B4). Durations only,
 * counted from the last report that was heard: whatever is late on its way shortens the time and never lengthens it.
 */
import type { CommandLease } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import type { HostEntry } from "../inventory/host-entry.ts";

/** When the VM has to be gone, grace included, in site time; `undefined` for one that nobody leased. */
export function leaseEndMs(round: Round, { origin }: VmRecord): number | undefined {
  if (origin.kind !== "peer") return undefined;
  const lend = round.lender.find(origin.peer, origin.exchange);
  return lend?.stage === "leased" ? lend.expiresAtMs + round.policy.timing.leaseGraceMs : undefined;
}

/** The end as the host is told it; `undefined` while no report of this start of it was heard. */
export function leaseTerms(host: HostEntry, endMs: number): CommandLease | undefined {
  const { capacity, capacityAtMs } = host;
  if (capacity === undefined || capacity.bootId !== host.bootId) return undefined;
  const durationMs = Math.max(0, Math.floor(endMs - capacityAtMs));
  return { bootId: capacity.bootId, report: capacity.sequence, durationMs };
}

/** Whether the lease goes on for longer than the host of this attempt has been told. */
export function isLeaseNews(round: Round, { record, leaseTold }: VmEntry): boolean {
  const endMs = leaseEndMs(round, record);
  if (endMs === undefined) return false;
  return leaseTold?.attempt !== record.attempt || leaseTold.endMs < endMs;
}
