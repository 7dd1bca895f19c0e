/** From a waiting VM to a peer that is asked to hold for it, or to the reasons why none is (P4). */
import { type CandidateView, type Refusal, refusal } from "@muster/protocol";
import { mayBorrow } from "../peering/peering.ts";
import type { Search, Want } from "./borrow-book.ts";
import { pauseMs } from "./borrow-timing.ts";
import type { BorrowTurn } from "./borrow-turn.ts";
import { candidatesFor } from "./choose-peer.ts";
import { startHold } from "./hold-asking.ts";
import { freshen } from "./offers.ts";

/** Most pauses remembered (S2): beyond that a VM may be tried again at once. */
const RESTS_MAX = 10_000;

/** Begins a round for the VM, unless one is under way, an exchange is open, or the last round was just now. */
export function takeWant(turn: BorrowTurn, want: Want): void {
  const { book, env, timing } = turn;
  if (book.openByVm.has(want.vm) || book.searches.has(want.vm)) return;
  const rest = book.rests.get(want.vm);
  if (rest !== undefined && env.nowMs < rest.untilMs) {
    const left = { ...rest.refusal, retryAfterMs: Math.ceil(rest.untilMs - env.nowMs) };
    turn.effects.push({ kind: "not-placed", vm: want.vm, candidates: rest.candidates, refusal: left });
    return;
  }
  if (book.searches.size >= timing.searchesMax || book.open.size >= timing.exchangesMax) {
    const full = refusal(
      "unavailable",
      "too-many-searches",
      "too many VMs look for a peer at once; it goes on waiting",
      {
        retryAfterMs: timing.restMs,
      },
    );
    turn.effects.push({ kind: "not-placed", vm: want.vm, candidates: [], refusal: full });
    return;
  }
  const search: Search = {
    want,
    waitUntilMs: env.nowMs + timing.offerDeadlineMs,
    refusals: stillTakenBack(turn, want.vm),
  };
  book.searches.set(want.vm, search);
  for (const peering of env.peerings()) freshen(turn, peering);
  proceed(turn, search);
}

/** Peers that have just taken back what this VM had there. */
function stillTakenBack({ book, env }: BorrowTurn, vm: string): Map<string, Refusal> {
  const known = book.tookBack.get(vm);
  if (known === undefined) return new Map();
  const still = [...known].filter(([, { untilMs }]) => untilMs > env.nowMs);
  if (still.length === 0) book.tookBack.delete(vm);
  return new Map(still.map(([peer, { why }]) => [peer, why]));
}

/** Moves every search on whose offers are in or overdue. */
export function proceedAll(turn: BorrowTurn): void {
  for (const search of turn.book.searches.values()) if (search.waitUntilMs !== undefined) proceed(turn, search);
}

function proceed(turn: BorrowTurn, search: Search): void {
  const { book, env } = turn;
  const inTime = search.waitUntilMs !== undefined && env.nowMs < search.waitUntilMs;
  if (inTime && offersDue(turn, search, "answering")) return;
  const candidates = candidatesFor(book, env, search.want, search.refusals);
  const best = candidates.find(({ verdict }) => verdict === "possible");
  // Who did not answer when last asked holds nobody up, unless there is nobody else.
  if (best === undefined && inTime && offersDue(turn, search, "any")) return;
  if (best === undefined) {
    giveUp(turn, search, candidates);
    return;
  }
  search.waitUntilMs = undefined;
  startHold(turn, search.want, best.name);
}

function offersDue(turn: BorrowTurn, search: Search, whose: "answering" | "any"): boolean {
  for (const peering of turn.env.peerings()) {
    if (search.refusals.has(peering.domain)) continue;
    if (!mayBorrow(peering)) continue;
    const state = turn.book.peers.get(peering.domain);
    if (state?.offerCall !== undefined && (whose === "any" || state.reachable !== "no")) return true;
  }
  return false;
}

function giveUp(turn: BorrowTurn, search: Search, candidates: readonly CandidateView[]): void {
  const { book, env, timing } = turn;
  const { vm } = search.want;
  const rounds = (book.rests.get(vm)?.rounds ?? 0) + 1;
  const restMs = pauseMs(rounds, timing.restMs, timing.restMsMax);
  const why = noPeer(candidates, restMs);
  book.searches.delete(vm);
  // Set anew, so that the first of the map is the oldest.
  book.rests.delete(vm);
  book.rests.set(vm, { untilMs: env.nowMs + restMs, rounds, candidates, refusal: why });
  const [oldest] = book.rests.keys();
  if (book.rests.size > RESTS_MAX && oldest !== undefined) book.rests.delete(oldest);
  turn.effects.push({ kind: "not-placed", vm, candidates, refusal: why });
}

function noPeer(candidates: readonly CandidateView[], retryAfterMs: number): Refusal {
  if (candidates.length === 0)
    return refusal("unavailable", "no-peers", "this site has no peers to burst to", { retryAfterMs });
  const reasons = candidates.map(({ name, message }) => `${name}: ${message}`).join("; ");
  return refusal("resource-constraint", "no-peer-takes-it", `no peer takes the VM now: ${reasons}`, { retryAfterMs });
}
