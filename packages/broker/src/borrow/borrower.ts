import { assertNever } from "@muster/base";
import { dropOverdue, takeOutcome } from "./answers.ts";
import { type Exchange, loadBorrowBook } from "./borrow-book.ts";
import { BORROW_TIMING, type BorrowTiming } from "./borrow-timing.ts";
import { type BorrowTurn, change } from "./borrow-turn.ts";
import type { Borrower, BorrowerEvent } from "./borrower-contract.ts";
import { candidatesFor } from "./choose-peer.ts";
import { nextDueOf } from "./due.ts";
import { askHold, startHold } from "./hold-asking.ts";
import { askLease } from "./lease-asking.ts";
import { refreshOffers, takePresence } from "./offers.ts";
import { askRelease, beginRelease } from "./release-asking.ts";
import { renewDue } from "./renewals.ts";
import { endSearch } from "./round.ts";
import { runOut } from "./run-out.ts";
import { proceedAll, takeWant } from "./search.ts";
import { takeNotice } from "./states.ts";
import { takeTunnel } from "./tunnels.ts";

/**
 * The borrower's half of the exchange with every peer:
 *
 *     want ──► holding ──held──► leasing ──leased──► leased ──release, ran out──► releasing ──confirmed──► closed
 *                 │ refused          │ refused, silent                              ▲    └─ over by time ──►
 *                 ▼                  └──────────────────────────────────────────────┘
 *              closed, next peer or `not-placed`
 *
 * Synchronous, without I/O. What it asks again, and when, is driven by `tick` at `nextDueMs`.
 */
export function createBorrower(timing: Partial<BorrowTiming> = {}): Borrower {
  const times: BorrowTiming = { ...BORROW_TIMING, ...timing };
  let book = loadBorrowBook([]);
  return {
    load(records, spent) {
      book = loadBorrowBook(records, spent);
    },
    step(event, env) {
      const turn: BorrowTurn = { env, book, timing: times, changes: [], effects: [] };
      take(turn, event);
      proceedAll(turn);
      return { changes: turn.changes, effects: turn.effects };
    },
    exchangeOf: (vm) => book.openByVm.get(vm)?.record,
    *records() {
      yield* book.closed.values();
      for (const { record } of book.open.values()) yield record;
    },
    *standing() {
      for (const { domain, reachable, offer, lastHeardMs, presence } of book.peers.values())
        yield { domain, reachable, offer, lastHeardMs, presence };
    },
    candidates: (spec, env, terms) => candidatesFor(book, env, { spec, ...terms }),
    nextDueMs: () => nextDueOf(book, times),
  };
}

function take(turn: BorrowTurn, event: BorrowerEvent): void {
  switch (event.kind) {
    case "want": {
      const { kind: _, ...want } = event;
      takeWant(turn, want);
      return;
    }
    case "open":
      if (!turn.book.openByVm.has(event.want.vm)) startHold(turn, event.want, event.peer, event.id);
      return;
    case "set-wanted":
      setWanted(turn, turn.book.openByVm.get(event.vm), event.wanted);
      return;
    case "release":
      release(turn, event.vm, event.reason);
      return;
    case "tunnel-open":
    case "tunnel-failed":
      takeTunnel(turn, event);
      return;
    case "answer":
      takeOutcome(turn, event.peer, event.call, event.outcome);
      return;
    case "notice":
      takeNotice(turn, event.peer, event.notice);
      return;
    case "presence":
      takePresence(turn, event.peer, event.presence);
      return;
    case "tick":
      tick(turn);
      return;
    default:
      assertNever(event);
      return;
  }
}

/** The next renewal tells the lender, so it is due now. */
function setWanted(turn: BorrowTurn, exchange: Exchange | undefined, wanted: "running" | "paused" | "stopped"): void {
  if (exchange === undefined || exchange.record.stage === "releasing" || exchange.record.wanted === wanted) return;
  change(turn, exchange, { wanted });
  if (exchange.record.stage !== "leased") return;
  exchange.nextAtMs = turn.env.nowMs;
  renewDue(turn);
}

function release(turn: BorrowTurn, vm: string, reason: string): void {
  endSearch(turn, vm);
  const exchange = turn.book.openByVm.get(vm);
  if (exchange === undefined || exchange.record.wanted === "released") return;
  if (exchange.record.stage === "releasing")
    change(turn, exchange, { wanted: "released", reason: reason.slice(0, 500) });
  else beginRelease(turn, exchange, reason, undefined, "released");
}

function tick(turn: BorrowTurn): void {
  dropOverdue(turn);
  runOut(turn);
  for (const exchange of [...turn.book.open.values()]) pursue(turn, exchange);
  renewDue(turn);
  refreshOffers(turn);
}

/** Asks what is due, unless its answer is under way. */
function pursue(turn: BorrowTurn, exchange: Exchange): void {
  if (exchange.call !== undefined || exchange.nextAtMs > turn.env.nowMs) return;
  // After a start nobody knows how long was asked before: the asking time begins anew.
  if (exchange.giveUpAtMs === 0) exchange.giveUpAtMs = turn.env.nowMs + turn.timing.askMs;
  const { stage } = exchange.record;
  if (stage === "holding") askHold(turn, exchange);
  else if (stage === "leasing") askLease(turn, exchange);
  else if (stage === "releasing") askRelease(turn, exchange);
}
