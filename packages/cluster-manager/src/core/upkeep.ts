/** What time alone brings about: silence, repeats, expiry, forgetting, and the comparing of everything with everything. */
import { isFinal } from "@muster/protocol";
import { retryFlights } from "../dispatch/answers.ts";
import { releaseAtPeer, stepBorrower } from "../dispatch/borrowing.ts";
import { takeRoomBack } from "../dispatch/home-first.ts";
import { stepLender } from "../dispatch/lending.ts";
import { attendAll, attendOutbox } from "../dispatch/orders.ts";
import { pencilIn } from "../dispatch/pencils.ts";
import { askForImages } from "../images/image-verbs.ts";
import { judge } from "../inventory/liveness.ts";
import { askHost, reviewHost } from "../inventory/presence.ts";
import { stepLedger } from "../ledger/keep-ledger.ts";
import { balanceByItself } from "../move/balance.ts";
import { driveMoves, movesDueMs } from "../move/drive.ts";
import { evictFrom } from "../move/evict.ts";
import { tellUnderlay } from "../networks/underlay.ts";
import { attendPeers, peersDueMs } from "../peering/peering-outbox.ts";
import { PRUNED_PER_TICK_MAX, SWEEP_MS } from "./limits.ts";
import { changeVm, type Round } from "./round.ts";
import { settleRestored } from "./settle-restored.ts";
import { attendPlace } from "./vm-verbs.ts";

/** Done at every tick. */
export function tick(round: Round): void {
  const { set, turn } = round;
  for (const host of set.hosts.values()) {
    reviewHost(round, host);
    askHost(round, host);
    retryFlights(round, host);
  }
  tellUnderlay(round);
  attendLater(round);
  driveMoves(round);
  expire(round);
  stepBorrower(round, { kind: "tick" });
  stepLender(round, { kind: "tick" });
  stepLedger(round, { kind: "tick" });
  attendPeers(round);
  // Hosts that went out of service held room of holds: it is pencilled in elsewhere.
  if (set.reconciled) pencilIn(round);
  if (turn.nowMs - set.sweptAtMs >= SWEEP_MS) sweep(round);
  prune(round);
}

/**
 * L4: nothing is placed before every host's list was heard, or those that stay silent had their time. Holds get their room
 * back before anything else is placed.
 */
export function openPlacing(round: Round): void {
  const { set, turn, policy } = round;
  if (set.reconciled || set.startedAtMs === undefined) return;
  if (set.newerTerms.size > 0) return;
  // What was restored says nothing for sure: every host is waited for, however long it takes.
  const restored = set.restore?.state === "pending";
  const settled =
    !restored && set.link.online && turn.nowMs >= Math.max(set.startedAtMs, set.link.sinceMs) + policy.timing.settleMs;
  if (!settled && [...set.hosts.values()].some((host) => !host.record.fenced && !host.reconciled)) return;
  if (restored) settleRestored(round);
  set.reconciled = true;
  set.arrivals.clear();
  pencilIn(round);
  set.wake();
  turn.event("site", policy.domain, "placing begins");
}

/** When `tick` is due at the latest. */
export function nextDueMs(round: Omit<Round, "turn">, nowMs: number): number {
  const { set, policy } = round;
  if (set.startedAtMs === undefined) return nowMs;
  let due = set.sweptAtMs + SWEEP_MS;
  const at = (dueMs: number | undefined): void => {
    if (dueMs !== undefined && dueMs < due) due = dueMs;
  };
  if (!set.reconciled && set.link.online) at(Math.max(set.startedAtMs, set.link.sinceMs) + policy.timing.settleMs);
  for (const host of set.hosts.values()) {
    at(judge(host, set.link, policy.timing, nowMs).dueMs);
    if (host.liveness === "alive") at(host.flights.dueMs);
  }
  for (const vm of set.later) {
    const entry = set.vms.get(vm);
    if (entry === undefined) continue;
    if (entry.retryAtMs > nowMs) at(entry.retryAtMs);
    if (entry.wantAtMs > nowMs) at(entry.wantAtMs);
  }
  at(movesDueMs(round, nowMs));
  at(peersDueMs(round, nowMs));
  at(set.tunnels.dueMs);
  at(round.lender.nextDueMs());
  at(round.borrower.nextDueMs());
  at(round.ledger?.nextDueMs());
  return Math.max(nowMs, due);
}

/** VMs whose pause is over: their order goes out, or they are looked at in the queue again. */
function attendLater(round: Round): void {
  const { set, turn } = round;
  for (const vm of set.later) {
    const entry = set.vms.get(vm);
    if (entry === undefined || isFinal(entry.record.phase)) {
      set.later.delete(vm);
      continue;
    }
    for (const [host, untilMs] of entry.avoid) {
      if (untilMs > turn.nowMs) continue;
      entry.avoid.delete(host);
      entry.triedEpoch = -1;
      set.queueDirty = true;
    }
    const waiting = entry.record.phase === "queued";
    if (waiting && entry.record.burst !== "never" && entry.wantAtMs <= turn.nowMs) set.queueDirty = true;
    if (!waiting && entry.retryAtMs <= turn.nowMs) attendPlace(round, entry);
    const outward = waiting && entry.record.burst !== "never";
    if (entry.retryAtMs <= turn.nowMs && entry.avoid.size === 0 && !outward) set.later.delete(vm);
  }
}

function expire(round: Round): void {
  const { set, turn } = round;
  for (const entry of [...set.queue.entries]) {
    const { expiresAtMs } = entry.record;
    if (expiresAtMs === undefined || expiresAtMs > turn.nowMs) continue;
    changeVm(round, entry, { phase: "expired", reason: "it waited longer than it was to wait" });
    if (entry.wanting) releaseAtPeer(round, entry, "expired");
  }
}

/** Reconciles every host although nobody reported anything: what was missed anywhere else is made good here. */
function sweep(round: Round): void {
  const { set, turn } = round;
  set.sweptAtMs = turn.nowMs;
  for (const host of set.hosts.values()) {
    attendAll(round, host);
    attendOutbox(round, host);
    evictFrom(round, host);
  }
  balanceByItself(round);
  takeRoomBack(round);
  if (set.reconciled && set.queue.size > 0) set.queueDirty = true;
}

/** Ended records are remembered for a time, longer than any repeat of a request (B1), then dropped (S2). */
function prune(round: Round): void {
  const { set, turn, policy } = round;
  const { ended } = set;
  const owed: string[] = [];
  let done = 0;
  while (done < ended.length && done < PRUNED_PER_TICK_MAX) {
    const record = set.vms.get(ended[done] ?? "")?.record;
    if (record !== undefined && isFinal(record.phase)) {
      if (record.changedAtMs + policy.timing.rememberMs > turn.nowMs) break;
      if (record.move !== undefined || record.leftover !== undefined) {
        // A host has not cleaned up after its move yet.
        owed.push(record.id);
        done += 1;
        continue;
      }
      set.dropVm(record.id);
      turn.delete(`vm/${record.id}`);
      dropRequest(round, record.request);
      round.decisions.delete(record.id);
    }
    done += 1;
  }
  ended.splice(0, done);
  ended.push(...owed);
}

/** The request goes with the last of its VMs. */
function dropRequest({ set, turn }: Round, id: string): void {
  const request = set.requests.get(id);
  if (request === undefined || request.vms.some((vm) => set.vms.has(vm))) return;
  set.requests.delete(id);
  turn.delete(`request/${id}`);
}

/** At the first step of this core: every host is told our term (H1). */
export function begin(round: Round): void {
  const { set, turn } = round;
  set.startedAtMs = turn.nowMs;
  set.sweptAtMs = turn.nowMs;
  set.link = { online: true, sinceMs: turn.nowMs };
  for (const host of set.hosts.values()) askHost(round, host);
  askForImages(round);
}

export function takeLink(round: Round, online: boolean): void {
  const { set, turn } = round;
  if (set.link.online === online && online) return;
  set.link = { online, sinceMs: turn.nowMs };
  turn.event("site", round.policy.domain, online ? "is connected again" : "has lost its link to the XMPP server");
  for (const host of set.hosts.values()) {
    host.hello.dueMs = 0;
    reviewHost(round, host);
    askHost(round, host);
  }
}
