import type { Release } from "@muster/protocol";
import { EXCHANGES_MAX } from "./admission.ts";
import { orderRemoval } from "./expiry.ts";
import { tooMany } from "./hold.ts";
import { leaseStateOf } from "./lease-state-of.ts";
import { findIn, type PeerBook } from "./lend-book.ts";
import { answered, change, type LendTurn, type Reply, refused } from "./lend-turn.ts";
import type { LendRecord } from "./lender-contract.ts";

/** Ends the exchange in whatever stage it is, and says where that left it. Repeating it only asks (B1). */
export function answerRelease(turn: LendTurn, peer: PeerBook, release: Release): Reply {
  const known = findIn(peer, release.id);
  if (known === undefined && peer.open.size + peer.closed.size >= EXCHANGES_MAX) return refused(tooMany());
  const record = known === undefined ? bury(turn, peer, release) : end(turn, peer, release, known);
  return answered({ kind: "released", body: { state: leaseStateOf(record, turn.env.nowMs) } });
}

/** The release overtook its hold: the tombstone keeps it from ever running (B3). */
function bury(turn: LendTurn, peer: PeerBook, { id, reason }: Release): LendRecord {
  return change(turn, peer, {
    id,
    digest: "",
    stage: "voided",
    leaseMs: 0,
    expiresAtMs: turn.env.nowMs,
    renewals: 0,
    reason,
  });
}

function end(turn: LendTurn, peer: PeerBook, { reason }: Release, known: LendRecord): LendRecord {
  if (known.stage === "held") return change(turn, peer, { ...known, stage: "voided", reason });
  if (known.stage === "leased") return orderRemoval(turn, peer, known, reason);
  // Nobody waits for the admin's word any more.
  if (known.approval !== undefined)
    return change(turn, peer, { ...known, approval: undefined, refusal: undefined, reason });
  return known;
}
