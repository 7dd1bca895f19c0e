/** How a search goes on, or ends, when an exchange of it does. */
import type { Refusal } from "@muster/protocol";
import type { Exchange, Want } from "./borrow-book.ts";
import type { BorrowTurn } from "./borrow-turn.ts";
import type { BorrowRecord } from "./borrower-contract.ts";
import { freshen } from "./offers.ts";

/** The exchange of a search is over without a lease: the end of the step goes on to the next peer. */
export function goOn(turn: BorrowTurn, exchange: Exchange, why: Refusal): void {
  const { record } = exchange;
  // A VM that was to go over alive stays where it runs.
  if (record.incoming === true) return;
  const { book, env, timing } = turn;
  const known = book.searches.get(record.vm);
  // After a start the search is gone, but what it was for is in the record.
  const search = known ?? { want: wantOf(record), waitUntilMs: undefined, refusals: new Map<string, Refusal>() };
  search.refusals.set(record.peer, why);
  search.waitUntilMs = env.nowMs + timing.offerDeadlineMs;
  book.searches.set(record.vm, search);
  for (const peering of env.peerings()) if (!search.refusals.has(peering.domain)) freshen(turn, peering);
}

/** The VM has its lease, or is not wanted out there any more. */
export function endSearch(turn: BorrowTurn, vm: string): void {
  turn.book.searches.delete(vm);
  turn.book.rests.delete(vm);
}

function wantOf({ vm, name, project, owner, spec, leaseMs, maxPricePerHour, tunnel, image }: BorrowRecord): Want {
  const want = { vm, name, project, owner, spec, leaseMs, maxPricePerHour, image };
  if (tunnel === undefined) return want;
  const { own: _, other: __, ...wish } = tunnel;
  return { ...want, tunnel: wish };
}
