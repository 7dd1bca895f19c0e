import { type LeaseRequest, refusal } from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { exchangeOver } from "./hold.ts";
import { leaseStateOf } from "./lease-state-of.ts";
import { findIn, type PeerBook } from "./lend-book.ts";
import { answered, change, type LendTurn, type Reply, refused } from "./lend-turn.ts";

/**
 * Turns the hold into the right to run: its capacity goes from the hold to the VM that `place` makes wanted in the same
 * commit. Asked again, it says where the lease stands (B1). The lease is cut to what the policy grants.
 */
export function answerLease(turn: LendTurn, peer: PeerBook, peering: Peering, request: LeaseRequest): Reply {
  const known = findIn(peer, request.id);
  if (known === undefined)
    return refused(
      refusal("item-not-found", "unknown-exchange", `no hold ${request.id} of your site is known here`, {
        field: "id",
      }),
    );
  if (known.stage === "voided") return refused(known.refusal ?? exchangeOver(known));
  if (known.stage !== "held") return answered({ kind: "leased", body: { state: leaseStateOf(known, turn.env.nowMs) } });
  const leaseMs = grantedMs(peering, request.leaseMs);
  const leased = change(turn, peer, {
    ...known,
    stage: "leased",
    leaseMs,
    expiresAtMs: turn.env.nowMs + leaseMs,
    leasedAtMs: turn.env.nowMs,
    vmPhase: "queued",
    wanted: "running",
  });
  turn.effects.push({ kind: "place", record: leased });
  return answered({ kind: "leased", body: { state: leaseStateOf(leased, turn.env.nowMs) } });
}

/** What the policy grants of what was asked. */
export function grantedMs(peering: Peering, askedMs: number): number {
  return Math.min(askedMs, peering.lend.leaseMsMax);
}
