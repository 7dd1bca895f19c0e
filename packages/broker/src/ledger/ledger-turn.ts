/** One step of the ledger while it is being worked out. */
import type { SiteKey } from "../peering/keys.ts";
import type { PinnedPeer } from "../peering/peering.ts";
import { type Book, bookOf, bookToStore, file, type LedgerSet } from "./ledger-book.ts";
import type { LedgerChange, LedgerEffect, LedgerEnv, LedgerTiming } from "./ledger-contract.ts";
import { bookKey, type LedgerRecord, type MeterRecord, meterKey, receiptKey } from "./ledger-record.ts";

export type LedgerTurn = {
  readonly domain: string;
  readonly keys: () => readonly SiteKey[];
  readonly timing: LedgerTiming;
  readonly set: LedgerSet;
  readonly env: LedgerEnv;
  readonly changes: LedgerChange[];
  readonly effects: LedgerEffect[];
};

export function putReceipt(turn: LedgerTurn, record: LedgerRecord): void {
  const book = bookOf(turn.set, record.side, record.peer);
  file(book, record);
  turn.changes.push({ kind: "put", key: receiptKey(record), value: record });
  const sum = bookToStore(book);
  if (sum !== undefined) turn.changes.push({ kind: "put", key: bookKey(sum), value: sum });
}

export function putMeter(turn: LedgerTurn, meter: MeterRecord): void {
  turn.set.meters.set(meterKey(meter), meter);
  const dueMs = meterDueMs(turn, meter);
  if (Number.isFinite(dueMs)) turn.set.metersDueMs = Math.min(turn.set.metersDueMs ?? dueMs, dueMs);
  turn.changes.push({ kind: "put", key: meterKey(meter), value: meter });
}

/** When the meter is to be read, or forgotten; never for one that runs at a borrower. */
export function meterDueMs({ timing }: LedgerTurn, { side, sinceMs, endedMs, receiptedMs }: MeterRecord): number {
  if (side === "borrowed") return endedMs === undefined ? Number.POSITIVE_INFINITY : endedMs + timing.meterKeepMs;
  return endedMs ?? (sinceMs ?? 0) + receiptedMs + timing.everyMs;
}

export function dropMeter(turn: LedgerTurn, meter: MeterRecord): void {
  turn.set.meters.delete(meterKey(meter));
  turn.changes.push({ kind: "delete", key: meterKey(meter) });
}

/** Counts and tells something that was not taken. */
export function noteRefusal(turn: LedgerTurn, book: Book, message: string, offence = false): void {
  book.refused += 1;
  book.lastRefusal = message;
  turn.effects.push({ kind: "tell", peer: book.peer, message, ...(offence ? { offence } : {}) });
}

/** The key that the peer knows as ours, else the first; `undefined` where the site has none. */
export function ownKeyFor(turn: LedgerTurn, peer: Pick<PinnedPeer, "signWith">): SiteKey | undefined {
  const all = turn.keys();
  return all.find(({ publicKey }) => publicKey === peer.signWith) ?? all[0];
}

/** Keys of the peer that count now. */
export function keysOf({ publicKey, earlierKey }: PinnedPeer): readonly string[] {
  return earlierKey === undefined ? [publicKey] : [publicKey, earlierKey];
}
