import { type Refusal, refusal } from "@muster/protocol";
import type { Exchange } from "./borrow-book.ts";
import { pauseMs } from "./borrow-timing.ts";
import { type BorrowTurn, change, close, send } from "./borrow-turn.ts";
import type { BorrowRecord } from "./borrower-contract.ts";
import { goOn } from "./round.ts";

/**
 * Wants the exchange to end, in whatever stage it is: asked until the lender confirms it, or until nothing of it can be
 * left (B2). A question under way is let go: the release may overtake it (B3).
 */
export function beginRelease(
  turn: BorrowTurn,
  exchange: Exchange,
  reason: string,
  why?: Refusal,
  wanted: BorrowRecord["wanted"] = exchange.record.wanted,
): void {
  if (exchange.call !== undefined) turn.book.calls.delete(exchange.call);
  if (why !== undefined) turn.book.searches.get(exchange.record.vm)?.refusals.set(exchange.record.peer, why);
  change(turn, exchange, { stage: "releasing", reason: reason.slice(0, 500), wanted });
  Object.assign(exchange, { call: undefined, tries: 0, unsure: true });
  askRelease(turn, exchange);
}

export function askRelease(turn: BorrowTurn, exchange: Exchange): void {
  const { id, peer, reason } = exchange.record;
  const body = { id, term: turn.env.term, reason: (reason ?? "not wanted any more").replace(/\p{Cc}+/gu, " ") };
  exchange.call = send(turn, peer, { kind: "release", body }, { kind: "release", id });
}

/** Nothing of the exchange is left at the lender, by its word or by time: the VM may go elsewhere (P1). */
export function closeOver(turn: BorrowTurn, exchange: Exchange, part: Partial<BorrowRecord>): void {
  const everLeased = exchange.record.vmPhase !== undefined;
  close(turn, exchange, part);
  const { record } = exchange;
  if (record.wanted === "released" || everLeased) turn.book.searches.delete(record.vm);
  else {
    const known = turn.book.searches.get(record.vm)?.refusals.get(record.peer);
    goOn(
      turn,
      exchange,
      known ?? refusal("unavailable", "exchange-failed", record.reason ?? "the exchange came to nothing"),
    );
  }
}

/** No answer: the same thing again later, under the same id (B2). */
export function askAgain(turn: BorrowTurn, exchange: Exchange): void {
  const { retryMs, retryMsMax } = turn.timing;
  exchange.tries += 1;
  exchange.unsure = true;
  exchange.nextAtMs = turn.env.nowMs + pauseMs(exchange.tries, retryMs, retryMsMax);
}
