/** The ledger's working set: both books with every peer, meters that run, and the talk about open receipts. */
import { type LedgerSide, type LedgerTotals, NO_DIGEST } from "@muster/protocol";
import { BOOK_EVERY, RECENT_MAX } from "./ledger-contract.ts";
import { type BookRecord, type LedgerRecord, type MeterRecord, meterKey } from "./ledger-record.ts";

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
  readonly totals: Totals;
  /** Receipts that are not at hand any more: up to which number, what they come to, and how many of them are not stored so. */
  readonly settled: { upTo: number; readonly totals: Totals; unsaved: number };
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

type Totals = { -readonly [Key in keyof LedgerTotals]: LedgerTotals[Key] };

export type LedgerSet = {
  readonly books: Map<string, Book>;
  /** By `meterKey`. */
  readonly meters: Map<string, MeterRecord>;
  /** When the next meter is due; `undefined` when none is. */
  metersDueMs: number | undefined;
};

/** Receipts that the books speak for are left out, where they come at all. */
export function loadLedgerSet(
  records: Iterable<LedgerRecord>,
  meters: Iterable<MeterRecord>,
  books: Iterable<BookRecord> = [],
): LedgerSet {
  const set: LedgerSet = { books: new Map(), meters: new Map(), metersDueMs: undefined };
  for (const { side, peer, upTo, totals } of books) {
    const book = bookOf(set, side, peer);
    Object.assign(book.totals, totals);
    Object.assign(book.settled.totals, totals);
    Object.assign(book, { sequence: upTo });
    book.settled.upTo = upTo;
  }
  const inOrder = [...records].sort((left, right) => left.receipt.sequence - right.receipt.sequence);
  for (const record of inOrder) {
    const book = bookOf(set, record.side, record.peer);
    if (record.receipt.sequence > book.settled.upTo) file(book, record);
  }
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
    totals: noTotals(),
    settled: { upTo: 0, totals: noTotals(), unsaved: 0 },
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
  if (before !== undefined) count(book.totals, before, -1);
  count(book.totals, record, 1);
  if (record.state === "open") book.open.set(sequence, record);
  else {
    book.open.delete(sequence);
    book.recent.set(sequence, record);
    if (book.recent.size > RECENT_MAX) letGo(book);
  }
  if (sequence <= book.sequence) return;
  book.sequence = sequence;
  book.digest = record.digest;
}

/** Takes all open receipts out of the book, in order: what follows the settled ones is another one from now on. */
export function withdrawOpen(book: Book): LedgerRecord[] {
  const withdrawn = [...book.open.values()];
  for (const record of withdrawn) count(book.totals, record, -1);
  book.open.clear();
  const last = lastSettled(book);
  book.sequence = last?.receipt.sequence ?? 0;
  book.digest = last?.digest ?? NO_DIGEST;
  return withdrawn;
}

/** The settled receipt with the highest number that is at hand. */
export function lastSettled({ recent }: Book): LedgerRecord | undefined {
  let last: LedgerRecord | undefined;
  for (const record of recent.values())
    if (last === undefined || record.receipt.sequence > last.receipt.sequence) last = record;
  return last;
}

/** The oldest settled receipts are in the store only, as far as there is no open one before them. */
function letGo({ recent, settled }: Book): void {
  for (let sequence = settled.upTo + 1; recent.size > RECENT_MAX; sequence += 1) {
    const oldest = recent.get(sequence);
    if (oldest === undefined) return;
    recent.delete(sequence);
    count(settled.totals, oldest, 1);
    settled.upTo = sequence;
    settled.unsaved += 1;
  }
}

/** What is to be stored of the book by now. */
export function bookToStore({ side, peer, settled }: Book): BookRecord | undefined {
  if (settled.unsaved < BOOK_EVERY) return undefined;
  settled.unsaved = 0;
  return { side, peer, upTo: settled.upTo, totals: { ...settled.totals } };
}

function noTotals(): Totals {
  return { receipts: 0, open: 0, disputed: 0, amount: 0, vcpuMs: 0 };
}

/** Agreed and open receipts count as the lender has them, disputed ones as the borrower does: what is undisputed. */
function count(totals: Totals, { state, receipt, verdict }: LedgerRecord, by: 1 | -1): void {
  const disputed = state === "disputed" && verdict !== undefined;
  totals.receipts += by;
  if (state === "open") totals.open += by;
  if (state === "disputed") totals.disputed += by;
  totals.amount += by * (disputed ? Math.min(verdict.ownAmount, receipt.amount) : receipt.amount);
  const usedMs = receipt.untilMs - receipt.fromMs;
  totals.vcpuMs += by * receipt.resources.vcpus * (disputed ? Math.min(verdict.ownMs, usedMs) : usedMs);
}
