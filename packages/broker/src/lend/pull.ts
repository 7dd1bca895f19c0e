import type { Pull } from "@muster/protocol";
import { leaseStateOf } from "./lease-state-of.ts";
import type { PeerBook } from "./lend-book.ts";
import { answered, type LendTurn, type Reply } from "./lend-turn.ts";

/** A page of what changed after the revision that the borrower knows, oldest change first. */
export function answerPull(turn: LendTurn, peer: PeerBook, { since, max }: Pull): Reply {
  const changed = [...peer.open.values(), ...peer.closed.values()]
    .filter((record) => record.revision > since)
    .sort((left, right) => left.revision - right.revision);
  const states = changed.slice(0, max).map((record) => leaseStateOf(record, turn.env.nowMs));
  return answered({ kind: "pulled", body: { states, complete: changed.length <= max } });
}
