/**
 * Home first: own VMs that wait while lent ones take the room. What would let one of them run is put to the lender, whose
 * policy says whether it takes a lease back, and with how much notice.
 */
import { add, isFinal } from "@muster/protocol";
import { isHeldBack } from "../core/restored.ts";
import type { Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { demandFor } from "../queue/drain.ts";
import { refusedBy } from "../scheduler/filters.ts";
import type { Demand } from "../scheduler/host-option.ts";
import { stepLender } from "./lending.ts";

/** Own VMs looked at in one sweep, oldest of the highest priority first (S2). */
const WAITING_MAX = 16;
/** How long an own VM waits before it takes room back: what comes free by itself is enough for many. */
export const HOME_FIRST_AFTER_MS = 5_000;

type Lent = { readonly host: string; readonly vm: string; readonly peer: string; readonly id: string };

export function takeRoomBack(round: Round): void {
  const { set, turn } = round;
  withdrawNotices(round);
  if (!set.reconciled || set.queue.size === 0 || !mayPreempt(round)) return;
  let lent: Lent[] | undefined;
  for (const entry of set.queue.entries.slice(0, WAITING_MAX)) {
    if (!waitsForHome(round, entry)) continue;
    lent ??= lentHere(round);
    if (lent.length === 0) return;
    const leases = wouldHelp(round, demandFor(round, entry), lent);
    if (leases.length === 0) continue;
    const waitedS = Math.floor((turn.nowMs - entry.record.createdAtMs) / 1_000);
    const reason = `the lender needs the room for its own users, who have waited ${waitedS} s`;
    stepLender(round, { kind: "make-room", vm: entry.record.id, leases, reason });
  }
}

/** Notices on behalf of VMs that have found their place, or want none any more. */
function withdrawNotices(round: Round): void {
  const vms = new Set<string>();
  for (const { stage, endsFor } of round.lender.records())
    if (stage === "leased" && endsFor !== undefined) vms.add(endsFor);
  for (const vm of vms) {
    const record = round.set.vms.get(vm)?.record;
    if (record?.phase === "queued") continue;
    const found = record !== undefined && !isFinal(record.phase);
    const reason = found ? "its room is not needed any more" : "nobody waits for its room any more";
    stepLender(round, { kind: "room-found", vm, reason });
  }
}

function mayPreempt({ set, turn }: Round): boolean {
  for (const { lend } of set.peers.all(turn.nowMs)) if (lend.preempt !== undefined) return true;
  return false;
}

/** One that has a peer to turn to, or to hear of yet, needs no room at home. */
function waitsForHome(round: Round, entry: VmEntry): boolean {
  const { record } = entry;
  if (record.phase !== "queued" || record.burst === "only" || record.origin.kind !== "local") return false;
  if (round.turn.nowMs - record.createdAtMs < HOME_FIRST_AFTER_MS || isHeldBack(round, entry)) return false;
  return !entry.wanting;
}

function lentHere({ set }: Round): Lent[] {
  const lent: Lent[] = [];
  for (const { record } of set.vms.values()) {
    const { origin, place } = record;
    if (origin.kind !== "peer" || place.kind !== "host" || isFinal(record.phase)) continue;
    lent.push({ host: place.host, vm: record.id, peer: origin.peer, id: origin.exchange });
  }
  return lent;
}

/** The leases without whose VM its host would take the waiting one. */
function wouldHelp({ set }: Round, demand: Demand, lent: readonly Lent[]): Pick<Lent, "peer" | "id">[] {
  return lent.filter(({ host, vm }) => {
    const entry = set.hosts.get(host);
    const resources = entry?.placed.get(vm);
    if (entry === undefined || resources === undefined) return false;
    const option = entry.option();
    return refusedBy(demand, { ...option, free: add(option.free, resources), full: false }) === undefined;
  });
}
