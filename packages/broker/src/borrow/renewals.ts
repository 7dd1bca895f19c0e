import { LEASES_BATCH_MAX, type Renew, type RenewedLease } from "@muster/protocol";
import type { BurstOutcome } from "../burst-message.ts";
import { type Call, type Exchange, peerState } from "./borrow-book.ts";
import { type BorrowTurn, change, send } from "./borrow-turn.ts";
import { overBudget } from "./budget.ts";
import { leaseEnds } from "./lease-asking.ts";
import { askAgain, beginRelease } from "./release-asking.ts";
import { takeState } from "./states.ts";

/** Part of a lease by which another one may be renewed early to share the stanza. */
const EARLY_SHARE = 0.1;

/** Renews what is due at half of its lease, one stanza a peer at a time; what is due soon goes along. */
export function renewDue(turn: BorrowTurn): void {
  const duePeers = new Set<string>();
  for (const exchange of turn.book.open.values()) {
    const { record, nextAtMs } = exchange;
    if (record.stage !== "leased" || nextAtMs > turn.env.nowMs) continue;
    if (isRenewedAt(turn, record.peer)) duePeers.add(record.peer);
    // An asking that is refused for certain would only put off the moment at which the lease is over for certain.
    else exchange.nextAtMs = turn.env.nowMs + turn.timing.retryMs;
  }
  for (const peer of duePeers) if (peerState(turn.book, peer).renewCall === undefined) renewAt(turn, peer);
}

/** Leases run out where either side holds the peering as other than active, or where it was left (B4). */
function isRenewedAt({ env }: BorrowTurn, peer: string): boolean {
  for (const { domain, state, partnerState = "active" } of env.peerings())
    if (domain === peer) return state === "active" && partnerState === "active";
  return false;
}

/** Takes in a batch's outcome, lease by lease. */
export function takeRenewed(
  turn: BorrowTurn,
  call: Call & { purpose: { kind: "renew" } },
  outcome: BurstOutcome,
): void {
  peerState(turn.book, call.peer).renewCall = undefined;
  const answers = new Map<string, RenewedLease>();
  if (outcome.kind === "answered" && outcome.answer.kind === "renewed")
    for (const lease of outcome.answer.body.leases) answers.set(lease.id, lease);
  for (const [id, wanted] of call.purpose.wanted) {
    const exchange = turn.book.open.get(id);
    if (exchange?.record.stage === "leased") takeOne(turn, exchange, call.askedAtMs, wanted, answers.get(id));
  }
}

function renewAt(turn: BorrowTurn, peer: string): void {
  const { nowMs, term } = turn.env;
  const batch = [...turn.book.open.values()]
    .filter(({ record }) => record.peer === peer && record.stage === "leased")
    .filter(({ record, nextAtMs }) => nextAtMs <= nowMs + record.leaseMs * EARLY_SHARE)
    .sort((left, right) => left.nextAtMs - right.nextAtMs)
    .slice(0, LEASES_BATCH_MAX);
  const wanted = new Map<string, "running" | "paused" | "stopped">();
  const leases: Renew["leases"] = [];
  for (const exchange of batch) {
    const { id, leaseMs, wanted: state } = exchange.record;
    if (state === "released") continue;
    if (stopsForMoney(turn, exchange)) continue;
    const own = exchange.record.tunnel?.own;
    leases.push({ id, leaseMs, wanted: state, ...(isKeyTold(exchange) || own === undefined ? {} : { tunnel: own }) });
    exchange.sentKey = own?.publicKey;
    wanted.set(id, state);
    noteAsking(turn, exchange);
  }
  if (leases.length === 0) return;
  const purpose = { kind: "renew", wanted } as const;
  peerState(turn.book, peer).renewCall = send(turn, peer, { kind: "renew", body: { term, leases } }, purpose);
}

function isKeyTold({ record, toldKey }: Exchange): boolean {
  return record.tunnel?.own?.publicKey === toldKey;
}

/** The budget is a hard stop: a lease that it does not pay for any more runs out, with that as its reason. */
function stopsForMoney(turn: BorrowTurn, exchange: Exchange): boolean {
  const { record } = exchange;
  const { nowMs } = turn.env;
  const budget = turn.env.budget?.(record.project);
  if (budget === undefined) return false;
  const { project, spec, prices, leasedAtMs = nowMs, id } = record;
  const leaseMs = record.leaseMs + nowMs - Math.max(leasedAtMs, budget.sinceMs);
  const why = overBudget(turn.book, budget, { project, spec, prices, leaseMs }, nowMs, id);
  if (why === undefined) return false;
  change(turn, exchange, { endsAtMs: record.expiresAtMs, endReason: why.message, reason: why.message });
  exchange.nextAtMs = Math.max(record.expiresAtMs, nowMs + turn.timing.retryMs);
  return true;
}

/** Stores, before it is asked, how late the lease may then end: the question may take its time (P1, B4). */
function noteAsking(turn: BorrowTurn, exchange: Exchange): void {
  const { flightMs, graceMs, marginMs } = turn.timing;
  const { leaseMs, overAtMs } = exchange.record;
  const latest = turn.env.nowMs + flightMs + leaseMs + graceMs + marginMs;
  change(turn, exchange, { overAtMs: Math.max(overAtMs ?? 0, latest) });
}

function takeOne(
  turn: BorrowTurn,
  exchange: Exchange,
  askedAtMs: number,
  wanted: "running" | "paused" | "stopped",
  lease: RenewedLease | undefined,
): void {
  const state = lease?.state?.id === exchange.record.id ? lease.state : undefined;
  if (state?.stage === "leased" && lease?.refusal === undefined) {
    exchange.toldWanted = wanted;
    exchange.toldKey = exchange.sentKey;
    const renewals = exchange.record.renewals + 1;
    change(turn, exchange, { ...leaseEnds(turn, exchange, askedAtMs, state), renewals });
    takeState(turn, exchange, state);
    return;
  }
  if (state !== undefined) takeState(turn, exchange, state);
  if (exchange.record.stage !== "leased") return;
  if (lease?.refusal?.kind === "item-not-found") {
    beginRelease(turn, exchange, "the peer does not know the lease");
    return;
  }
  askAgain(turn, exchange);
}
