import { LEASES_BATCH_MAX, type SitePresence } from "@muster/protocol";
import type { BurstOutcome } from "../burst-message.ts";
import { mayBorrow, type Peering } from "../peering/peering.ts";
import { type Call, exchangesAt, type PeerState, peerState } from "./borrow-book.ts";
import { type BorrowTurn, send } from "./borrow-turn.ts";

/** Asks every peer for its offer when it is due; the answer is the peer's heartbeat. */
export function refreshOffers(turn: BorrowTurn): void {
  const asked = new Set<string>();
  for (const peering of turn.env.peerings()) {
    asked.add(peering.domain);
    const state = peerState(turn.book, peering.domain);
    if (isAsked(turn, peering) && state.nextOfferMs <= turn.env.nowMs) askOffer(turn, state);
    else if (!isAsked(turn, peering)) state.nextOfferMs = turn.env.nowMs + turn.timing.offerEveryMs;
  }
  // A peering that was taken out of the configuration leaves nothing behind once its exchanges are closed.
  for (const [domain, state] of turn.book.peers) {
    if (asked.has(domain)) continue;
    state.nextOfferMs = turn.env.nowMs + turn.timing.offerEveryMs;
    if (exchangesAt(turn.book, domain).length === 0) turn.book.peers.delete(domain);
  }
  turn.book.started = true;
}

/** Makes the peer's offer fresh enough for a choice; `true` while that needs an answer. */
export function freshen(turn: BorrowTurn, peering: Peering): boolean {
  if (!mayBorrow(peering)) return false;
  const state = peerState(turn.book, peering.domain);
  const { nowMs } = turn.env;
  if (isClosed(state)) return state.offerCall !== undefined;
  if (state.offerCall === undefined && nowMs - state.offerAskedMs > turn.timing.offerFreshMs)
    askOffer(turn, state, turn.timing.offerDeadlineMs);
  return state.offerCall !== undefined;
}

/**
 * What a peer shows of itself. As long as nothing newer is known, one that takes nothing in is not asked for a VM; one that takes
 * something in again is asked at once.
 */
export function takePresence(turn: BorrowTurn, peer: string, presence: SitePresence | undefined): void {
  if (![...turn.env.peerings()].some(({ domain }) => domain === peer)) return;
  const state = peerState(turn.book, peer);
  const opened = presence?.accepting === true && state.presence?.accepting === false;
  state.presence = presence;
  state.presenceAtMs = turn.env.nowMs;
  if (presence !== undefined) state.lastHeardMs = turn.env.nowMs;
  // One that was taken for silent is there again.
  const back = presence?.accepting === true && state.reachable !== "yes";
  if (opened || back) state.nextOfferMs = turn.env.nowMs;
}

/** Whether the peer has shown since its last offer that it takes nothing in. */
export function isClosed({ presence, presenceAtMs, offerAskedMs }: PeerState): boolean {
  return presence?.accepting === false && presenceAtMs > offerAskedMs;
}

/** Takes in what became of an offer query. */
export function takeOffer(turn: BorrowTurn, call: Call & { purpose: { kind: "offer" } }, outcome: BurstOutcome): void {
  const state = peerState(turn.book, call.peer);
  state.offerCall = undefined;
  state.offerAskedMs = call.askedAtMs;
  if (outcome.kind === "unknown") {
    state.reachable = "no";
    return;
  }
  state.reachable = "yes";
  const tookMs = turn.env.nowMs - call.askedAtMs;
  state.answerMs = state.answerMs === undefined ? tookMs : (state.answerMs + tookMs) / 2;
  state.offer = undefined;
  state.refusal = outcome.kind === "refused" ? outcome.refusal : undefined;
  if (outcome.kind !== "answered" || outcome.answer.kind !== "offer") return;
  const offer = outcome.answer.body;
  state.offer = offer;
  // A lender whose sequence went back has lost its memory: everything is to be read anew.
  if (offer.revision < call.purpose.cursor) state.cursor = 0;
  if (offer.revision > state.cursor) pull(turn, state);
}

/** Reads what changed at the lender since the last look, one page at a time. */
export function pull(turn: BorrowTurn, state: PeerState): void {
  if (state.pullCall !== undefined) return;
  const since = state.cursor;
  const body = { since, max: LEASES_BATCH_MAX };
  state.pullCall = send(turn, state.domain, { kind: "pull", body }, { kind: "pull", since });
}

function askOffer(turn: BorrowTurn, state: PeerState, timeoutMs?: number): void {
  if (state.offerCall !== undefined) return;
  state.nextOfferMs = turn.env.nowMs + turn.timing.offerEveryMs;
  const request = { kind: "offer-query", body: { term: turn.env.term } } as const;
  state.offerCall = send(turn, state.domain, request, { kind: "offer", cursor: state.cursor }, timeoutMs);
}

/** Peers that may help, and peers that have something of ours. */
function isAsked(turn: BorrowTurn, peering: Peering): boolean {
  if (peering.state === "active" && peering.borrow) return true;
  return exchangesAt(turn.book, peering.domain).length > 0;
}
