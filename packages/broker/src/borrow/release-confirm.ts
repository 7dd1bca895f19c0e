import type { BurstOutcome } from "../burst-message.ts";
import type { Exchange } from "./borrow-book.ts";
import type { BorrowTurn } from "./borrow-turn.ts";
import { askAgain } from "./release-asking.ts";
import { takeState } from "./states.ts";

/** Released or void is the end; while the lender still removes the VM, it is asked again. */
export function takeReleaseOutcome(turn: BorrowTurn, exchange: Exchange, outcome: BurstOutcome): void {
  if (outcome.kind === "answered" && outcome.answer.kind === "released") {
    const { state } = outcome.answer.body;
    if (state.id === exchange.record.id) takeState(turn, exchange, state);
  }
  if (exchange.record.stage === "releasing") askAgain(turn, exchange);
}
