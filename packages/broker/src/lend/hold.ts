import { type Hold, LEASE_MS_MAX, type Refusal, refusal } from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { checkContent, EXCHANGES_MAX } from "./admission.ts";
import { heldUp, putOff } from "./approval.ts";
import { holdLeftMs } from "./lease-state-of.ts";
import { findIn, type PeerBook } from "./lend-book.ts";
import { answered, change, type LendTurn, type Reply, refused } from "./lend-turn.ts";
import type { LendRecord } from "./lender-contract.ts";
import { aboveApproval, refusedByRules } from "./rules.ts";

/**
 * Sets capacity aside, or says why not. The same id and digest gets the same answer, a refusal included (B1); an id
 * whose release came first stays void (B3).
 */
export function answerHold(turn: LendTurn, peer: PeerBook, peering: Peering, hold: Hold): Reply {
  const wrong = checkContent(hold);
  if (wrong !== undefined) return refused(wrong);
  const known = findIn(peer, hold.id);
  if (known !== undefined) return replay(turn, peer, peering, hold, known);
  if (peer.open.size + peer.closed.size >= EXCHANGES_MAX) return refused(tooMany());
  const base = { id: hold.id, digest: hold.digest, leaseMs: hold.leaseMs, renewals: 0 };
  const denied = refusedByRules(turn, peer, peering, hold);
  if (denied !== undefined) {
    const expiresAtMs = turn.env.nowMs;
    change(turn, peer, { ...base, stage: "voided", expiresAtMs, reason: denied.message, refusal: denied });
    return refused(denied);
  }
  const above = aboveApproval(peering, hold);
  if (above !== undefined) return refused(putOff(turn, peer, hold, above));
  return setAside(turn, peer, peering, hold);
}

function setAside(turn: LendTurn, peer: PeerBook, peering: Peering, hold: Hold): Reply {
  const { id, digest, leaseMs } = hold;
  const { prices } = peering.lend;
  const held = change(turn, peer, {
    id,
    digest,
    leaseMs,
    renewals: 0,
    stage: "held",
    hold,
    expiresAtMs: turn.env.nowMs + hold.holdMs,
    ...(prices === undefined ? {} : { prices }),
  });
  return sayHeld(turn, peering, held);
}

/** The exchange is over: nothing of it runs or will. */
export function exchangeOver(record: LendRecord): Refusal {
  return refusal("conflict", "exchange-over", `exchange ${record.id} is ${record.stage} here; ask under a new id`, {
    field: "id",
  });
}

export function tooMany(): Refusal {
  return refusal("unavailable", "too-many-exchanges", "too many exchanges of your site are remembered here", {
    retryAfterMs: 60_000,
  });
}

function replay(turn: LendTurn, peer: PeerBook, peering: Peering, hold: Hold, known: LendRecord): Reply {
  // A tombstone whose hold never arrived knows no digest: whatever comes under its id is void (B3).
  if (known.digest !== "" && known.digest !== hold.digest) {
    const taken = refusal("conflict", "id-taken", `id ${hold.id} stands for another request here`, { field: "id" });
    return refused(taken);
  }
  const up = heldUp(known, turn.env.nowMs);
  if (up !== undefined) return refused(up);
  // Approved: what holds it up now is not remembered, so that it may come back as long as the approval is good.
  if (known.approval?.state === "approved") {
    const denied = refusedByRules(turn, peer, peering, hold);
    return denied === undefined ? setAside(turn, peer, peering, hold) : refused(denied);
  }
  if (known.stage !== "held" && known.stage !== "leased") return refused(exchangeOver(known));
  return sayHeld(turn, peering, known);
}

function sayHeld(turn: LendTurn, peering: Peering, record: LendRecord): Reply {
  const remainingMs = holdLeftMs(record, turn.env.nowMs);
  const leaseMsMax = Math.min(LEASE_MS_MAX, Math.max(1_000, peering.lend.leaseMsMax));
  const prices = record.prices === undefined ? {} : { prices: record.prices };
  return answered({ kind: "held", body: { id: record.id, remainingMs, leaseMsMax, ...prices } });
}
