/**
 * Places what waits, oldest of the highest priority first.
 *
 * Backfill: a VM that fits may pass others that do not, as long as no more than `LOOK_AHEAD` of them are ahead of it. A VM
 * that was passed `PASSES_MAX` times, or has waited for `PATIENCE_MS`, lets nobody pass any more, so that small ones cannot
 * starve it; unless no host in service could take it even when empty, for then everybody would wait in vain.
 */
import type { VmRecord } from "../core/records.ts";
import { isHeldBack, nextAttempt } from "../core/restored.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { releaseAtPeer, turnOutward } from "../dispatch/borrowing.ts";
import { barredFor } from "../dispatch/class-shares.ts";
import { attend } from "../dispatch/orders.ts";
import { pencilIn } from "../dispatch/pencils.ts";
import { judgeAgain } from "../inventory/reports.ts";
import { demandOf } from "../scheduler/demand.ts";
import { couldTake } from "../scheduler/filters.ts";
import type { Demand, HostOption } from "../scheduler/host-option.ts";
import { tallyLine } from "../scheduler/schedule.ts";

export const LOOK_AHEAD = 64;
export const PASSES_MAX = 32;
export const PATIENCE_MS = 600_000;

export function drainQueue(round: Round): void {
  const { set } = round;
  if (!set.queueDirty || set.held) return;
  set.queueDirty = false;
  if (!set.reconciled) {
    placeArrivals(round);
    return;
  }
  if (set.holdsWithoutRoom) pencilIn(round);
  const blocked: VmEntry[] = [];
  const outward = set.peers.mayBorrow(round.turn.nowMs);
  let closed = false;
  for (const entry of [...set.queue.entries]) {
    if (closed && !outward) return;
    const { record } = entry;
    if (record.burst !== "only" && !closed && tryPlace(round, entry)) {
      for (const passed of blocked) passed.passes += 1;
      continue;
    }
    if (record.burst !== "never" && !isHeldBack(round, entry)) turnOutward(round, entry);
    // Who waits for an address takes no room from those behind it.
    if (record.burst === "only" || record.phase !== "queued" || closed || lacksAddress(round, entry, round.turn.nowMs))
      continue;
    blocked.push(entry);
    closed = blocked.length >= LOOK_AHEAD || isBarrier(round, entry, round.turn.nowMs);
  }
}

/**
 * L4 before every host was heard: what was asked of this leader can run nowhere yet, whatever the store may have lost, and
 * goes to a host whose own list was heard. Nothing passes what waits for longer, and no hold loses room it was promised.
 */
function placeArrivals(round: Round): void {
  const { set } = round;
  if ([...round.lender.held()].length > 0) return;
  for (const entry of [...set.queue.entries]) {
    const { record } = entry;
    if (record.burst === "only") continue;
    if (!set.arrivals.has(record.id) || !tryPlace(round, entry)) return;
  }
}

/** Places the VM now if a host fits; the record says so first, then the start goes out (L3). */
export function tryPlace(round: Round, entry: VmEntry): boolean {
  const { set } = round;
  if (entry.triedEpoch === set.epoch || isHeldBack(round, entry)) return false;
  if (!reserveMissing(round, entry)) return false;
  if (set.strays.has(entry.record.id)) judgeAgain(round, entry.record.id);
  if (entry.record.phase !== "queued") return true;
  const strays = set.strays.get(entry.record.id);
  if (strays !== undefined) {
    entry.triedEpoch = set.epoch;
    changeVm(round, entry, { reason: `an earlier attempt is still alive on ${[...strays].sort().join(", ")}` });
    return false;
  }
  const decision = set.rankings.decide(demandFor(round, entry), set.hosts);
  if (decision.kind === "none") {
    entry.triedEpoch = set.epoch;
    return false;
  }
  // B2: a search for a peer ends before the VM gets a place at home.
  if (entry.wanting) releaseAtPeer(round, entry, "placed at home");
  place(round, entry, decision.host);
  const refused = decision.tally.refused.size === 0 ? "" : `; not: ${tallyLine(decision.tally)}`;
  noteDecision(round, entry.record, `${decision.host} scored best of ${decision.tally.possible}${refused}`);
  return true;
}

function lacksAddress({ set }: Settled, { record }: VmEntry, nowMs: number): boolean {
  return set.networks.lack(record, nowMs) !== undefined;
}

/** Reserves the addresses that were not there when it was accepted; `false` when they still are not. */
function reserveMissing(round: Round, entry: VmEntry): boolean {
  const { set, turn } = round;
  if (!lacksAddress(round, entry, turn.nowMs)) return true;
  const nics = set.networks.complete(entry.record.nics ?? [], turn.nowMs);
  if (nics === undefined) return false;
  changeVm(round, entry, { nics });
  return true;
}

function place(round: Round, entry: VmEntry, name: string): void {
  const host = round.set.hosts.get(name);
  if (host === undefined) return;
  entry.askVoid = false;
  entry.passes = 0;
  changeVm(round, entry, {
    phase: "placing",
    place: { kind: "host", host: name, startedOn: "ordered" },
    attempt: nextAttempt(entry.record),
    reason: undefined,
  });
  attend(round, host, entry.record.id);
}

export function demandFor(round: Round, entry: VmEntry): Demand {
  const demand = demandAt(round, entry, round.turn.nowMs);
  if ((demand.avoid?.size ?? 0) > 0) round.set.later.add(entry.record.id);
  return demand;
}

/** What a decision is made on, where nothing is to be noted for later. */
type Settled = Pick<Round, "set" | "policy">;

function demandAt({ set, policy }: Settled, entry: VmEntry, nowMs: number): Demand {
  const avoid = new Set<string>();
  for (const [host, untilMs] of entry.avoid) if (untilMs > nowMs) avoid.add(host);
  const { record } = entry;
  const demand = demandOf(record, set.networks.networksOf(record), policy.images, avoid);
  if (record.origin.kind !== "peer") return demand;
  const barred = barredFor({ set }, set.peers.find(record.origin.peer, nowMs), record.spec, record.id);
  return barred === undefined ? demand : { ...demand, barred };
}

export function* options(round: Pick<Round, "set">): Generator<HostOption> {
  for (const host of round.set.hosts.values()) yield host.option();
}

function isBarrier(round: Settled, entry: VmEntry, nowMs: number): boolean {
  if (lacksAddress(round, entry, nowMs)) return false;
  const waited = nowMs - entry.record.changedAtMs >= PATIENCE_MS;
  if (entry.passes < PASSES_MAX && !waited) return false;
  const demand = demandAt(round, entry, nowMs);
  for (const option of options(round)) if (couldTake(demand, option)) return true;
  return false;
}

/** Whether one of the first in the queue lets nobody pass: then peers are not lent to either. */
export function hasBarrier(round: Settled, nowMs: number): boolean {
  return round.set.queue.entries
    .slice(0, LOOK_AHEAD)
    .some((entry) => entry.record.burst !== "only" && isBarrier(round, entry, nowMs));
}

function noteDecision(round: Round, record: VmRecord, sentence: string): void {
  const { decisions } = round;
  decisions.delete(record.id);
  decisions.set(record.id, sentence);
}
