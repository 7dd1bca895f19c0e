import type { LeaseState, LeaseTunnel } from "@muster/protocol";
import type { BurstOutcome } from "../burst-message.ts";
import type { Call, Exchange } from "./borrow-book.ts";
import { type BorrowTurn, change, send } from "./borrow-turn.ts";
import type { BorrowTunnel } from "./borrower-contract.ts";
import { askAgain, beginRelease } from "./release-asking.ts";
import { endSearch } from "./round.ts";
import { takeState } from "./states.ts";

/** Asks for the lease of what is held, again under the same id until an answer comes or asking is given up (B1, B2). */
export function askLease(turn: BorrowTurn, exchange: Exchange): void {
  const { id, peer, leaseMs, tunnel } = exchange.record;
  const waits = tunnel !== undefined && tunnel.own === undefined;
  if (turn.env.nowMs >= exchange.giveUpAtMs) {
    beginRelease(turn, exchange, waits ? "no gateway opened a tunnel in time" : "the peer did not answer the lease");
    return;
  }
  if (waits) {
    exchange.nextAtMs = exchange.giveUpAtMs;
    return;
  }
  const body = { id, term: turn.env.term, leaseMs, ...tunnelIn(tunnel) };
  exchange.sentKey = tunnel?.own?.publicKey;
  exchange.call = send(turn, peer, { kind: "lease", body }, { kind: "lease", id });
}

function tunnelIn(tunnel: BorrowTunnel | undefined): { readonly tunnel?: LeaseTunnel } {
  if (tunnel?.own === undefined) return {};
  const { vni, mtu, nic, own } = tunnel;
  return { tunnel: { vni, mtu, nic, end: own } };
}

/**
 * Leased: the VM is the peer's to run. A refusal says nothing about an earlier asking whose answer was lost, so the
 * exchange is released and that confirmed before anybody else is asked (B2, P1).
 */
export function takeLeaseOutcome(turn: BorrowTurn, exchange: Exchange, call: Call, outcome: BurstOutcome): void {
  if (outcome.kind === "refused") {
    beginRelease(turn, exchange, outcome.refusal.message, outcome.refusal);
    return;
  }
  const state = outcome.kind === "answered" && outcome.answer.kind === "leased" ? outcome.answer.body.state : undefined;
  if (state === undefined || state.id !== exchange.record.id) {
    askAgain(turn, exchange);
    return;
  }
  if (state.stage !== "leased") {
    takeState(turn, exchange, state);
    // Whatever else it says, it is not ours to run: end it properly.
    if (exchange.record.stage === "leasing") beginRelease(turn, exchange, state.reason ?? "the lease was over at once");
    return;
  }
  exchange.toldWanted = "running";
  exchange.toldKey = exchange.sentKey;
  change(turn, exchange, {
    stage: "leased",
    leasedAtMs: call.askedAtMs,
    ...leaseEnds(turn, exchange, call.askedAtMs, state),
  });
  takeState(turn, exchange, state);
  endSearch(turn, exchange.record.vm);
}

/** Whether the lender knows what the VM is to be, and where our end of its tunnel is. */
export function isTold({ record, toldWanted, toldKey }: Exchange): boolean {
  return record.wanted === toldWanted && record.tunnel?.own?.publicKey === toldKey;
}

/**
 * When the lease ends, from an answer: no earlier than the rest counted from our asking, no later than the rest counted
 * from now. The first is what we rely on, the second what we wait for (B4).
 */
export function leaseEnds(
  turn: BorrowTurn,
  exchange: Exchange,
  askedAtMs: number,
  state: LeaseState,
): { readonly expiresAtMs: number; readonly overAtMs: number } {
  const { graceMs, marginMs } = turn.timing;
  const { record } = exchange;
  const early = askedAtMs + state.remainingMs;
  const late = turn.env.nowMs + state.remainingMs + graceMs + marginMs;
  exchange.tries = 0;
  exchange.nextAtMs = isTold(exchange) ? askedAtMs + Math.floor(state.remainingMs / 2) : turn.env.nowMs;
  // What the lender takes back ends when it says, whatever it granted before.
  const before = record.stage === "leased" && state.endsWithinMs === undefined ? record.expiresAtMs : 0;
  if (state.endsWithinMs !== undefined)
    exchange.nextAtMs = Math.max(exchange.nextAtMs, turn.env.nowMs + turn.timing.retryMs);
  const expiresAtMs = Math.min(Math.max(before, early), record.endsAtMs ?? Number.POSITIVE_INFINITY);
  return { expiresAtMs, overAtMs: Math.max(record.overAtMs ?? 0, late) };
}
