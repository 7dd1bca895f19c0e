/** The borrower's end of a tunnel: the lease waits for it, and the lender is told where it is when it moves. */

import { isSameEnd } from "../tunnel-end.ts";
import { type BorrowTurn, change } from "./borrow-turn.ts";
import type { BorrowerEvent } from "./borrower-contract.ts";
import { askLease } from "./lease-asking.ts";
import { beginRelease } from "./release-asking.ts";
import { renewDue } from "./renewals.ts";

export function takeTunnel(
  turn: BorrowTurn,
  event: BorrowerEvent & { readonly kind: "tunnel-open" | "tunnel-failed" },
): void {
  const exchange = turn.book.open.get(event.id);
  if (exchange?.record.tunnel === undefined || exchange.record.stage === "releasing") return;
  const { tunnel, stage } = exchange.record;
  if (event.kind === "tunnel-failed") {
    if (stage !== "leased") beginRelease(turn, exchange, event.reason);
    return;
  }
  if (isSameEnd(tunnel.own, event.own)) return;
  change(turn, exchange, { tunnel: { ...tunnel, own: event.own } });
  if (stage === "leasing" && exchange.call === undefined) askLease(turn, exchange);
  if (stage !== "leased") return;
  exchange.nextAtMs = turn.env.nowMs;
  renewDue(turn);
}
