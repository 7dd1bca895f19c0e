import type { PeerBook } from "./lend-book.ts";
import { change, type LendTurn, notify } from "./lend-turn.ts";
import type { LendRecord } from "./lender-contract.ts";

/** How often the removal of a VM is ordered again while it is not gone. */
const REMOVE_AGAIN_MS = 30_000;

/** Ends what ran out: holds at their end, leases at their end and grace, memories after `rememberMs` (B4, B1). */
export function expire(turn: LendTurn): void {
  if (turn.book.dueMs === undefined || turn.env.nowMs < turn.book.dueMs) return;
  for (const peer of turn.book.peers.values()) {
    for (const record of [...peer.open.values()]) if (dueMs(turn, record) <= turn.env.nowMs) endOne(turn, peer, record);
    forget(turn, peer);
  }
  turn.book.dueMs = nextDue(turn);
}

/** The lease is over: its VM goes. The exchange is closed once the VM is reported gone. */
export function orderRemoval(turn: LendTurn, peer: PeerBook, record: LendRecord, reason: string): LendRecord {
  const releasing = change(turn, peer, { ...record, stage: "releasing", reason });
  order(turn, releasing, reason);
  return releasing;
}

/** When something is due next; to be worked out again after every change. */
export function nextDue(turn: LendTurn): number | undefined {
  let next = Number.POSITIVE_INFINITY;
  for (const peer of turn.book.peers.values()) {
    for (const record of peer.open.values()) next = Math.min(next, dueMs(turn, record));
    const [oldest] = peer.closed.values();
    if (oldest !== undefined && oldest !== peer.newest) next = Math.min(next, oldest.changedAtMs + turn.env.rememberMs);
  }
  return Number.isFinite(next) ? next : undefined;
}

function dueMs(turn: LendTurn, record: LendRecord): number {
  if (record.stage === "held") return record.expiresAtMs;
  if (record.stage === "leased")
    return Math.min(record.expiresAtMs + turn.env.graceMs, record.endsAtMs ?? Number.POSITIVE_INFINITY);
  return turn.book.removeAgainMs.get(keyOf(record)) ?? 0;
}

function endOne(turn: LendTurn, peer: PeerBook, record: LendRecord): void {
  if (record.stage === "held")
    notify(turn, change(turn, peer, { ...record, stage: "voided", reason: "the hold ran out" }));
  else if (record.stage === "leased") notify(turn, orderRemoval(turn, peer, record, endReason(turn, record)));
  else order(turn, record, record.reason ?? "the lease ended");
}

function endReason({ env }: LendTurn, { endsAtMs, endReason: why }: LendRecord): string {
  return endsAtMs !== undefined && endsAtMs <= env.nowMs && why !== undefined ? why : "the lease ran out";
}

function order(turn: LendTurn, record: LendRecord, reason: string): void {
  turn.effects.push({ kind: "remove", record, reason });
  turn.book.removeAgainMs.set(keyOf(record), turn.env.nowMs + REMOVE_AGAIN_MS);
}

/** Forgets from the oldest on, but never the newest: it carries revision and term (see `LendRecord.revision`). */
function forget(turn: LendTurn, peer: PeerBook): void {
  for (const record of peer.closed.values()) {
    if (record === peer.newest || record.changedAtMs + turn.env.rememberMs > turn.env.nowMs) return;
    peer.closed.delete(record.id);
    turn.changes.push({ kind: "forget", peer: peer.domain, id: record.id });
  }
}

/** Drops the soft note about a removal once the VM is gone. */
export function removalDone(turn: LendTurn, record: LendRecord): void {
  turn.book.removeAgainMs.delete(keyOf(record));
}

function keyOf(record: LendRecord): string {
  return `${record.peer}/${record.id}`;
}
