import { type Command, type Refusal, refusal } from "@muster/protocol";
import { clockOf, isOfLease } from "../core/lease-end.ts";
import type { AttemptRecord, LeaseEnd } from "../core/state.ts";
import type { Turn } from "../core/turn.ts";

/** When the lease of a command ends: counted from the report that its leader had heard (B4). */
export type LeaseTerm =
  | { readonly kind: "none" }
  | { readonly kind: "until"; readonly end: LeaseEnd }
  | { readonly kind: "refused"; readonly refusal: Refusal };

export function leaseTerm(turn: Turn, { lease }: Pick<Command, "lease">): LeaseTerm {
  if (lease === undefined) return { kind: "none" };
  const own = lease.bootId === turn.bootId;
  const report = own ? turn.timing.reports.find(({ sequence }) => sequence === lease.report) : undefined;
  if (report === undefined)
    return {
      kind: "refused",
      refusal: refusal("unavailable", "report-unknown", "the lease counts from a report that this host does not know", {
        retryAfterMs: turn.policy.reportMs,
      }),
    };
  const atMs = report.sentMs + lease.durationMs;
  if (atMs > turn.machineMs) return { kind: "until", end: { machineBoot: clockOf(turn), atMs } };
  return { kind: "refused", refusal: refusal("unavailable", "lease-over", "the lease is over by now") };
}

/** The record with its lease moved on; what was granted is never taken back, whatever arrives late. */
export function extended(record: AttemptRecord, end: LeaseEnd): AttemptRecord {
  const { lease, intent, ...rest } = record;
  const same = lease?.machineBoot === end.machineBoot;
  const kept = intent === undefined || isOfLease(record, intent) ? {} : { intent };
  return { ...rest, ...kept, lease: same && lease.atMs > end.atMs ? lease : end };
}
