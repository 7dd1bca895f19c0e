import type { BorrowBook } from "./borrow-book.ts";
import type { BorrowTiming } from "./borrow-timing.ts";
import { runDueMs } from "./states.ts";

/** When the next tick has something to do; 0 right after a load, `undefined` when there is nothing at all. */
export function nextDueOf(book: BorrowBook, timing: BorrowTiming): number | undefined {
  if (!book.started) return 0;
  let next = Number.POSITIVE_INFINITY;
  for (const exchange of book.open.values()) {
    const { stage, peer, expiresAtMs, overAtMs } = exchange.record;
    const busy = stage === "leased" ? book.peers.get(peer)?.renewCall !== undefined : exchange.call !== undefined;
    if (!busy) next = Math.min(next, exchange.nextAtMs);
    if (stage === "leased") next = Math.min(next, expiresAtMs + timing.graceMs);
    next = Math.min(next, runDueMs(exchange.record, timing));
    if (stage === "releasing" && overAtMs !== undefined) next = Math.min(next, overAtMs);
  }
  for (const { overdueAtMs } of book.calls.values()) next = Math.min(next, overdueAtMs);
  for (const { waitUntilMs } of book.searches.values()) next = Math.min(next, waitUntilMs ?? next);
  for (const { nextOfferMs, offerCall } of book.peers.values())
    if (offerCall === undefined) next = Math.min(next, nextOfferMs);
  const [oldest] = book.closed.values();
  if (oldest !== undefined) next = Math.min(next, oldest.changedAtMs + timing.rememberMs);
  return Number.isFinite(next) ? next : undefined;
}
