import { assertNever } from "@muster/base";
import type { BurstOutcome } from "../burst-message.ts";
import { type Call, type Exchange, peerState } from "./borrow-book.ts";
import type { BorrowTurn } from "./borrow-turn.ts";
import { takeHoldOutcome } from "./hold-asking.ts";
import { takeLeaseOutcome } from "./lease-asking.ts";
import { takeOffer } from "./offers.ts";
import { takeReleaseOutcome } from "./release-confirm.ts";
import { takeRenewed } from "./renewals.ts";
import { takePulled } from "./states.ts";

/** Takes the outcome of a call for what it was asked; nobody waits for one that is unknown or was let go. */
export function takeOutcome(turn: BorrowTurn, peer: string, callId: string, outcome: BurstOutcome): void {
  const call = turn.book.calls.get(callId);
  if (call === undefined || call.peer !== peer) return;
  turn.book.calls.delete(callId);
  if (outcome.kind !== "unknown") peerState(turn.book, peer).lastHeardMs = turn.env.nowMs;
  const { purpose } = call;
  switch (purpose.kind) {
    case "offer":
      takeOffer(turn, { ...call, purpose }, outcome);
      return;
    case "pull":
      takePulled(turn, { ...call, purpose }, outcome);
      return;
    case "renew":
      takeRenewed(turn, { ...call, purpose }, outcome);
      return;
    case "hold":
    case "lease":
    case "release": {
      const exchange = turn.book.open.get(purpose.id);
      if (exchange?.call !== callId) return;
      exchange.call = undefined;
      takeOwn(turn, exchange, call, purpose.kind, outcome);
      return;
    }
    default:
      assertNever(purpose);
      return;
  }
}

/** Calls whose end nobody reported in twice their time count as unanswered (B2). */
export function dropOverdue(turn: BorrowTurn): void {
  for (const [id, call] of [...turn.book.calls])
    if (call.overdueAtMs <= turn.env.nowMs) takeOutcome(turn, call.peer, id, { kind: "unknown" });
}

function takeOwn(
  turn: BorrowTurn,
  exchange: Exchange,
  call: Call,
  kind: "hold" | "lease" | "release",
  outcome: BurstOutcome,
): void {
  if (kind === "hold") takeHoldOutcome(turn, exchange, outcome);
  else if (kind === "lease") takeLeaseOutcome(turn, exchange, call, outcome);
  else takeReleaseOutcome(turn, exchange, outcome);
}
