/** One step of the lender while it is being worked out: what it reads, and what it gives back. */
import { LEASES_BATCH_MAX, type LeaseState, type PeerMove, type Refusal } from "@muster/protocol";
import type { BurstAnswer } from "../burst-message.ts";
import { leaseStateOf } from "./lease-state-of.ts";
import { file, type LendBook, type PeerBook } from "./lend-book.ts";
import type { LenderChange, LenderEffect, LenderEnv, LenderStep, LendRecord } from "./lender-contract.ts";

export type LendTurn = {
  readonly env: LenderEnv;
  readonly book: LendBook;
  readonly changes: LenderChange[];
  readonly effects: LenderEffect[];
  /** States to push, latest by peer and id. */
  readonly notices: Map<string, Map<string, LeaseState>>;
};

export function beginLendTurn(book: LendBook, env: LenderEnv): LendTurn {
  return { env, book, changes: [], effects: [], notices: new Map() };
}

export function endLendTurn(turn: LendTurn): LenderStep {
  for (const [peer, states] of turn.notices) {
    const all = [...states.values()];
    for (let from = 0; from < all.length; from += LEASES_BATCH_MAX)
      turn.effects.push({ kind: "notify", peer, states: all.slice(from, from + LEASES_BATCH_MAX) });
  }
  return { changes: turn.changes, effects: turn.effects };
}

/** Stores a change that the borrower can see: it takes the peer's next revision. */
export function change(
  turn: LendTurn,
  peer: PeerBook,
  record: Omit<LendRecord, "revision" | "term" | "changedAtMs" | "peer">,
): LendRecord {
  return put(turn, peer, {
    ...record,
    peer: peer.domain,
    revision: peer.revision + 1,
    changedAtMs: turn.env.nowMs,
  });
}

/** Stores what the borrower does not see as a change, under the revision it has. */
export function put(turn: LendTurn, peer: PeerBook, record: LendRecord): LendRecord {
  const { used: _before, ...rest } = record;
  const stored = { ...rest, term: peer.term, ...(peer.used === undefined ? {} : { used: peer.used }) };
  file(peer, stored);
  turn.changes.push({ kind: "put", record: stored });
  return stored;
}

/** What the peer gets back; the machine adds the ticket. */
export type Reply =
  | { readonly kind: "answer"; readonly answer: BurstAnswer }
  /** Answered by the site, when its host has. */
  | { readonly kind: "move"; readonly record: LendRecord; readonly step: PeerMove }
  | { readonly kind: "refuse"; readonly refusal: Refusal };

export function answered(answer: BurstAnswer): Reply {
  return { kind: "answer", answer };
}

export function refused(why: Refusal): Reply {
  return { kind: "refuse", refusal: why };
}

/** A line for the site's events. */
export function tell(turn: LendTurn, record: LendRecord, message: string): void {
  turn.effects.push({ kind: "tell", record, message: message.slice(0, 500) });
}

/** Tells the borrower at the end of the step; of several changes of one exchange the last counts. */
export function notify(turn: LendTurn, record: LendRecord): void {
  const states = turn.notices.get(record.peer) ?? new Map<string, LeaseState>();
  states.set(record.id, leaseStateOf(record, turn.env.nowMs));
  turn.notices.set(record.peer, states);
}
