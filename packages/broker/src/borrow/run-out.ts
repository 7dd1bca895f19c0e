import type { BorrowTurn } from "./borrow-turn.ts";
import { beginRelease, closeOver } from "./release-asking.ts";
import { endUnkept, runDueMs } from "./states.ts";

/** Ends what time ended: leases nobody renewed, exchanges of which nothing can be left, memories (B4). */
export function runOut(turn: BorrowTurn): void {
  const { book, env, timing } = turn;
  for (const exchange of [...book.open.values()]) {
    const { stage, expiresAtMs, overAtMs } = exchange.record;
    if (stage === "leased" && env.nowMs >= expiresAtMs + timing.graceMs)
      beginRelease(turn, exchange, "the lease ran out before the peer renewed it");
    else if (env.nowMs >= runDueMs(exchange.record, timing)) endUnkept(turn, exchange);
    else if (stage === "releasing" && overAtMs !== undefined && env.nowMs >= overAtMs)
      closeOver(turn, exchange, { reason: `${exchange.record.reason ?? "released"}; over by time, unconfirmed` });
  }
  for (const record of book.closed.values()) {
    if (record.changedAtMs + timing.rememberMs > env.nowMs) break;
    book.closed.delete(record.id);
    turn.changes.push({ kind: "forget", peer: record.peer, id: record.id });
  }
  for (const [vm, rest] of book.rests) {
    if (rest.untilMs + timing.restMsMax > env.nowMs) break;
    book.rests.delete(vm);
  }
}
