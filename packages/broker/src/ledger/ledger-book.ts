/** The ledger's working set: both books with every peer, meters that run, and the talk about open receipts. */
import { type LedgerSide, type LedgerTotals, NO_DIGEST } from "@muster/protocol";
import { RECENT_MAX } from "./ledger-contract.ts";
import { type LedgerRecord, type MeterRecord, meterKey } from "./ledger-record.ts";

/** All receipts in one direction between us and one peer. */
export type Book = {
  readonly side: LedgerSide;
  readonly peer: string;
  /** Of the last receipt in it. */
  sequence: number;
  digest: string;
  /** By sequence, in order: without a verdict so far. */
  readonly open: Map<number, LedgerRecord>;
  /** By sequence, in order: the last ones that have a verdict. */
  readonly recent: Map<number, LedgerRecord>;
  readonly totals: { -readonly [Key in keyof LedgerTotals]: LedgerTotals[Key] };
  /** Sent and not answered yet. */
  call: { readonly id: string; readonly overdueAtMs: number } | undefined;
  tries: number;
  nextAtMs: number;
  /** The borrower waits for this one although it was settled: it lost its memory of it. */
  again: number | undefined;
  /** Our store went back: from this number on the borrower has receipts of ours that we know nothing of any more. */
  recall: number | undefined;
  /** Receipts of this lender that our leases do not bound, since then. */
  odd: { readonly sinceMs: number; readonly count: number };
  refused: number;
  lastRefusal: string | undefined;
};

export type LedgerSet = {
  readonly books: Map<string, Book>;
  /** By `meterKey`. */
  readonly meters: Map<string, MeterRecord>;
  /** When the next meter is due; `undefined` when none is. */
  metersDueMs: number | undefined;
};

export function loadLedgerSet(records: Iterable<LedgerRecord>, meters: Iterable<MeterRecord>): LedgerSet {
  const set: LedgerSet = { books: new Map(), meters: new Map(), metersDueMs: undefined };
  const inOrder = [...records].sort((left, right) => left.receipt.sequence - right.receipt.sequence);
  for (const record of inOrder) file(bookOf(set, record.side, record.peer), record);
  for (const meter of meters) {
    set.meters.set(meterKey(meter), meter);
    set.metersDueMs = 0;
  }
  return set;
}

export function bookOf(set: LedgerSet, side: LedgerSide, peer: string): Book {
  const key = `${side}/${peer}`;
  const known = set.books.get(key);
  if (known !== undefined) return known;
  const made: Book = {
    side,
    peer,
    sequence: 0,
    digest: NO_DIGEST,
    open: new Map(),
    recent: new Map(),
    totals: { receipts: 0, open: 0, disputed: 0, amount: 0, vcpuMs: 0 },
    call: undefined,
    tries: 0,
    nextAtMs: 0,
    again: undefined,
    recall: undefined,
    odd: { sinceMs: Number.NEGATIVE_INFINITY, count: 0 },
    refused: 0,
    lastRefusal: undefined,
  };
  set.books.set(key, made);
  return made;
}

/** Puts a receipt where its state belongs, in place of what stood under its sequence. */
export function file(book: Book, record: LedgerRecord): void {
  const { sequence } = record.receipt;
  const before = book.open.get(sequence) ?? book.recent.get(sequence);
  if (before !== undefined) count(book, before, -1);
  count(book, record, 1);
  if (record.state === "open") book.open.set(sequence, record);
  else {
    book.open.delete(sequence);
    book.recent.set(sequence, record);
    for (const oldest of book.recent.keys()) {
      if (book.recent.size <= RECENT_MAX) break;
      book.recent.delete(oldest);
    }
  }
  if (sequence <= book.sequence) return;
  book.sequence = sequence;
  book.digest = record.digest;
}

/** Takes all open receipts out of the book, in order: what follows the settled ones is another one from now on. */
export function withdrawOpen(book: Book): LedgerRecord[] {
  const withdrawn = [...book.open.values()];
  for (const record of withdrawn) count(book, record, -1);
  book.open.clear();
  const last = [...book.recent.values()].at(-1);
  book.sequence = last?.receipt.sequence ?? 0;
  book.digest = last?.digest ?? NO_DIGEST;
  return withdrawn;
}

/** Agreed and open receipts count as the lender has them, disputed ones as the borrower does: what is undisputed. */
function count({ totals }: Book, { state, receipt, verdict }: LedgerRecord, by: 1 | -1): void {
  const disputed = state === "disputed" && verdict !== undefined;
  totals.receipts += by;
  if (state === "open") totals.open += by;
  if (state === "disputed") totals.disputed += by;
  totals.amount += by * (disputed ? Math.min(verdict.ownAmount, receipt.amount) : receipt.amount);
  const usedMs = receipt.untilMs - receipt.fromMs;
  totals.vcpuMs += by * receipt.resources.vcpus * (disputed ? Math.min(verdict.ownMs, usedMs) : usedMs);
}
