/** One step of the borrower while it is being worked out. */
import type { BurstRequest } from "../burst-message.ts";
import type { BorrowBook, Exchange, Purpose } from "./borrow-book.ts";
import type { BorrowTiming } from "./borrow-timing.ts";
import type { BorrowerChange, BorrowerEffect, BorrowerEnv, BorrowRecord } from "./borrower-contract.ts";
import { sumUpSpending } from "./budget.ts";

export type BorrowTurn = {
  readonly env: BorrowerEnv;
  readonly book: BorrowBook;
  readonly timing: BorrowTiming;
  readonly changes: BorrowerChange[];
  readonly effects: BorrowerEffect[];
};

/** Stores a change of the exchange; the core is told of what it can see. */
export function change(turn: BorrowTurn, exchange: Exchange, part: Partial<BorrowRecord>): void {
  const before = exchange.record;
  const visible = VISIBLE.some((key) => key in part && part[key] !== before[key]);
  const record = { ...before, ...part, ...(visible ? { changedAtMs: turn.env.nowMs } : {}) };
  exchange.record = record;
  turn.changes.push({ kind: "put", record });
  if (visible) turn.effects.push({ kind: "exchange-changed", record });
}

/** Closes the exchange: it is known to be over at the lender. */
export function close(turn: BorrowTurn, exchange: Exchange, part: Partial<BorrowRecord>): void {
  const { book } = turn;
  change(turn, exchange, { ...part, stage: "closed" });
  const { record } = exchange;
  book.open.delete(record.id);
  book.openByVm.delete(record.vm);
  if (exchange.call !== undefined) book.calls.delete(exchange.call);
  book.closed.set(record.id, record);
  sumUpSpending(turn, record);
}

/** Asks the peer. The answer comes back under the call's id and is taken only for this purpose. */
export function send(
  turn: BorrowTurn,
  peer: string,
  request: BurstRequest,
  purpose: Purpose,
  timeoutMs = turn.timing.callTimeoutMs,
): string {
  const call = turn.env.newId();
  const askedAtMs = turn.env.nowMs;
  // A shell that forgets to report the end of a call must not stall the exchange.
  turn.book.calls.set(call, { peer, purpose, askedAtMs, overdueAtMs: askedAtMs + 2 * timeoutMs });
  turn.effects.push({ kind: "send", peer, call, request, timeoutMs });
  return call;
}

/** What an admin or user sees of an exchange: a change here is worth telling. */
const VISIBLE = [
  "stage",
  "wanted",
  "vmPhase",
  "address",
  "access",
  "reason",
  "endsAtMs",
  "tunnel",
] as const satisfies readonly (keyof BorrowRecord)[];
