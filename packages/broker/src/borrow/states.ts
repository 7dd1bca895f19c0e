import { isDeepStrictEqual } from "node:util";
import { type LeaseState, type Pulled, refusal } from "@muster/protocol";
import type { BurstNotice, BurstOutcome } from "../burst-message.ts";
import { isSameEnd } from "../tunnel-end.ts";
import { type Call, type Exchange, type PeerState, peerState } from "./borrow-book.ts";
import type { BorrowTiming } from "./borrow-timing.ts";
import { type BorrowTurn, change, send } from "./borrow-turn.ts";
import type { BorrowRecord } from "./borrower-contract.ts";
import { pull } from "./offers.ts";
import { beginRelease, closeOver } from "./release-asking.ts";

/** Most VMs of which it is remembered who took their room back (S2). */
const TAKEN_BACK_MAX = 10_000;

/**
 * Takes in what the lender says of an exchange; an older or known revision changes nothing. What the lender ended by
 * itself is over here as well, with its reason.
 */
export function takeState(turn: BorrowTurn, exchange: Exchange, state: LeaseState): void {
  const { record } = exchange;
  if (state.revision <= record.revision) return;
  const { revision, vm, address, reason, endsWithinMs } = state;
  const seen = {
    revision,
    ...(vm === undefined ? {} : { vmPhase: vm }),
    ...(address === undefined ? {} : { address }),
    ...accessSeen(record, state),
    ...(reason === undefined ? {} : { reason }),
    ...tunnelSeen(record, state),
  };
  switch (state.stage) {
    case "released":
      noteUnkept(turn, exchange);
      // It could not fetch the image, as like as not: another peer, or a later time, may do better.
      if (record.stage === "leased" && record.ran !== true && record.image !== undefined)
        noteTakenBack(turn, record, reason);
      closeOver(turn, exchange, { ...seen, reason: reason ?? record.reason });
      return;
    case "voided":
      // As long as an admin there has not approved it: the answer to the hold says more.
      if (record.stage === "holding" && record.awaitsApproval === true) {
        change(turn, exchange, { revision });
        return;
      }
      // A lender that calls void what it once ran has lost its memory: only time proves that the VM is gone (P1).
      if (record.vmPhase === undefined) {
        closeOver(turn, exchange, seen);
        return;
      }
      change(turn, exchange, { revision });
      if (record.stage !== "releasing") beginRelease(turn, exchange, "the peer lost its record of the lease");
      return;
    case "releasing":
      change(turn, exchange, seen);
      if (record.stage === "leased") noteTakenBack(turn, record, reason);
      noteUnkept(turn, exchange);
      if (record.stage !== "releasing") beginRelease(turn, exchange, reason ?? "the peer ended the lease");
      return;
    case "leased":
      if (vm === "running" && record.ran !== true) noteKept(turn, exchange);
      if (endsWithinMs !== undefined) change(turn, exchange, endOf(turn, record, endsWithinMs, reason));
      else if (record.endedByLender === true) takeBackEnd(turn, exchange);
      // Nothing said of why means that there is nothing to say any more.
      change(turn, exchange, { ...seen, reason: record.stage === "releasing" ? record.reason : reason });
      if ((vm === "deleted" || vm === "refused") && record.stage === "leased") noteUnkept(turn, exchange);
      if ((vm === "deleted" || vm === "refused") && record.stage === "leased")
        beginRelease(turn, exchange, reason ?? `the peer reports the VM ${vm}`);
      return;
    default:
      change(turn, exchange, { revision });
  }
}

/** Where the VM's end of the tunnel is now, if that is news. */
function tunnelSeen({ tunnel }: BorrowRecord, { tunnel: other }: LeaseState): Pick<BorrowRecord, "tunnel"> {
  if (tunnel === undefined || other === undefined || isSameEnd(tunnel.other, other)) return {};
  return { tunnel: { ...tunnel, other } };
}

/** What is said of the address is said of the way to it: without one, there is none any more. */
function accessSeen({ access }: BorrowRecord, state: LeaseState): Pick<BorrowRecord, "access"> {
  if (state.address === undefined || isDeepStrictEqual(access, state.access)) return {};
  return { access: state.access };
}

/** The lender takes the room back at a time of its own: the lease is not relied on beyond it. */
function endOf(turn: BorrowTurn, { expiresAtMs }: BorrowRecord, endsWithinMs: number, reason: string | undefined) {
  const endsAtMs = turn.env.nowMs + endsWithinMs;
  return { endsAtMs, expiresAtMs: Math.min(expiresAtMs, endsAtMs), endReason: reason, endedByLender: true };
}

/** The lender withdrew its notice: the lease is renewed at once, and goes on as before. */
function takeBackEnd(turn: BorrowTurn, exchange: Exchange): void {
  change(turn, exchange, { endsAtMs: undefined, endReason: undefined, endedByLender: undefined });
  exchange.nextAtMs = turn.env.nowMs;
}

/** What a lender ended by itself it will hardly grant again at once. */
function noteTakenBack(
  { book, env, timing }: BorrowTurn,
  { vm, peer }: BorrowRecord,
  reason = "no reason given",
): void {
  const peers = book.tookBack.get(vm) ?? new Map();
  const why = refusal(
    "unavailable",
    "took-it-back",
    `what it leased for the VM came to nothing a moment ago: ${reason}`,
  );
  peers.set(peer, { untilMs: env.nowMs + timing.restMsMax, why });
  // Set anew, so that the first of the map is the oldest.
  book.tookBack.delete(vm);
  book.tookBack.set(vm, peers);
  const [oldest] = book.tookBack.keys();
  if (book.tookBack.size > TAKEN_BACK_MAX && oldest !== undefined) book.tookBack.delete(oldest);
}

/** The lender keeps its word: the VM runs. Said once an exchange. */
function noteKept(turn: BorrowTurn, exchange: Exchange): void {
  change(turn, exchange, { ran: true });
  turn.effects.push({ kind: "promise", record: exchange.record, kept: true });
}

/** The lender ended by itself what it leased and never ran; what its borrower gave up proves nothing. */
function noteUnkept(turn: BorrowTurn, { record }: Exchange): void {
  if (record.stage !== "leased" || record.ran === true || record.wanted !== "running") return;
  turn.effects.push({ kind: "promise", record, kept: false });
}

/** Until when the lender has to run what it leased; never for what runs, or is not to run. */
export function runDueMs(record: BorrowRecord, timing: BorrowTiming): number {
  const { stage, ran, vmPhase = "queued", wanted, leasedAtMs, incoming } = record;
  const waits = ran !== true && (vmPhase === "queued" || vmPhase === "placing");
  // One that comes over alive runs when its home has it run there.
  const due = stage === "leased" && incoming !== true && waits && wanted === "running" && leasedAtMs !== undefined;
  return due ? leasedAtMs + timing.runWithinMs : Number.POSITIVE_INFINITY;
}

/** It was to run by then and does not: the lease is given back, and that peer is not asked for the VM again at once. */
export function endUnkept(turn: BorrowTurn, exchange: Exchange): void {
  const seconds = Math.round(turn.timing.runWithinMs / 1_000);
  const why = `the peer leased it ${seconds} s ago and does not run it`;
  noteUnkept(turn, exchange);
  noteTakenBack(turn, exchange.record, why);
  beginRelease(turn, exchange, why);
}

/** A notice: whatever of it concerns exchanges with its sender. */
export function takeNotice(turn: BorrowTurn, peer: string, notice: BurstNotice): void {
  const state = turn.book.peers.get(peer);
  if (state === undefined) return;
  state.lastHeardMs = turn.env.nowMs;
  takeStates(turn, state, notice.states);
  // Only an unbroken sequence moves the cursor: a gap is for the pull to fill.
  for (const { revision } of notice.states) if (revision === state.cursor + 1) state.cursor = revision;
}

/** A page of changes: on to the next one until the lender says that it was the last. */
export function takePulled(turn: BorrowTurn, call: Call & { purpose: { kind: "pull" } }, outcome: BurstOutcome): void {
  const state = peerState(turn.book, call.peer);
  state.pullCall = undefined;
  if (outcome.kind !== "answered" || outcome.answer.kind !== "pulled") return;
  const page: Pulled = outcome.answer.body;
  takeStates(turn, state, page.states);
  const last = page.states.reduce((highest, { revision }) => Math.max(highest, revision), 0);
  const moved = last > call.purpose.since;
  if (call.purpose.since <= state.cursor) state.cursor = Math.max(state.cursor, last);
  if (!page.complete && moved) pull(turn, state);
}

function takeStates(turn: BorrowTurn, peer: PeerState, states: readonly LeaseState[]): void {
  for (const state of states) {
    const exchange = turn.book.open.get(state.id);
    if (exchange?.record.peer === peer.domain) takeState(turn, exchange, state);
    else if (exchange === undefined) endStray(turn, peer, state);
  }
}

/** Closed here by time, still alive there: it is not wanted. What we never knew runs out by itself. */
function endStray(turn: BorrowTurn, peer: PeerState, { id, stage }: LeaseState): void {
  const known = turn.book.closed.get(id);
  if (known?.peer !== peer.domain || (stage !== "held" && stage !== "leased")) return;
  const body = { id, term: turn.env.term, reason: "closed by its borrower" };
  send(turn, peer.domain, { kind: "release", body }, { kind: "release", id });
}
