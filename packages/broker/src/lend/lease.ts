import { type LeaseRequest, type Refusal, refusal } from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { exchangeOver } from "./hold.ts";
import { leaseStateOf } from "./lease-state-of.ts";
import { findIn, type PeerBook } from "./lend-book.ts";
import { answered, change, type LendTurn, type Reply, refused } from "./lend-turn.ts";
import type { LendRecord } from "./lender-contract.ts";

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
  const wrong = wrongTunnel(known, request);
  if (wrong !== undefined) return refused(wrong);
  const leaseMs = grantedMs(peering, request.leaseMs);
  const leased = change(turn, peer, {
    ...known,
    stage: "leased",
    leaseMs,
    expiresAtMs: turn.env.nowMs + leaseMs,
    leasedAtMs: turn.env.nowMs,
    vmPhase: "queued",
    wanted: "running",
    ...(request.tunnel === undefined ? {} : { tunnel: request.tunnel }),
  });
  turn.effects.push({ kind: "place", record: leased });
  return answered({ kind: "leased", body: { state: leaseStateOf(leased, turn.env.nowMs) } });
}

/** What was held for is what is leased: with a tunnel as the hold said, or without one. */
function wrongTunnel({ hold }: LendRecord, { tunnel }: LeaseRequest): Refusal | undefined {
  const field = "tunnel";
  if ((hold?.tunnel === undefined) !== (tunnel === undefined))
    return refusal("bad-request", "other-tunnel", "hold and lease must both be with a tunnel, or both without", {
      field,
    });
  if (hold?.tunnel === "reachable" && tunnel?.end.endpoint === undefined)
    return refusal("bad-request", "tunnel-unreachable", "the hold said that your end can be reached: say where", {
      field,
    });
  return undefined;
}

/** What the policy grants of what was asked. */
export function grantedMs(peering: Peering, askedMs: number): number {
  return Math.min(askedMs, peering.lend.leaseMsMax);
}
