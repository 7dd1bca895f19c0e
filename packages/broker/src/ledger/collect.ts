/** The lender's talk about its receipts: sent in order, again after ever longer pauses, until each has its verdict. */
import { RECEIPTS_BATCH_MAX, type RefusalKind, type SignedVerdict } from "@muster/protocol";
import type { BurstOutcome } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";
import type { Book } from "./ledger-book.ts";
import type { LedgerRecord } from "./ledger-record.ts";
import { keysOf, type LedgerTurn, noteRefusal, ownKeyFor, putReceipt } from "./ledger-turn.ts";
import { evidenceOf, prove, receiptText, verdictText } from "./proof.ts";
import { adoptRecalled } from "./recall.ts";

/** Refusals that pass by themselves. */
const PASSING: ReadonlySet<RefusalKind> = new Set(["internal", "not-leader", "resource-constraint", "unavailable"]);

/** What a borrower says of a number under which it has another receipt. */
const TAKEN: ReadonlySet<string> = new Set(["receipt-altered", "receipt-too-old"]);

/** Sends what is due. A peer with which no peering is in force is asked nothing: its receipts stay open, and are shown. */
export function sendReceipts(turn: LedgerTurn): void {
  const { env, timing } = turn;
  for (const book of turn.set.books.values()) {
    // A shell that forgets to report the end of a call must not stall the book.
    if (book.call !== undefined && book.call.overdueAtMs <= env.nowMs) fail(turn, book);
    if (!isWaiting(book) || book.nextAtMs > env.nowMs) continue;
    const peering = env.peering(book.peer);
    if (peering === undefined) {
      fail(turn, book);
      continue;
    }
    const call = env.newId();
    const receipts = batchOf(book).map((record) => {
      const { receipt, lenderProof } = provedNow(turn, peering, record);
      return { receipt, proof: lenderProof.proof };
    });
    book.call = { id: call, overdueAtMs: env.nowMs + 2 * timing.callTimeoutMs };
    const recall = book.recall === undefined ? {} : { recall: book.recall };
    const request = { kind: "receipts", body: { receipts, ...recall } } as const;
    turn.effects.push({ kind: "send", peer: book.peer, call, request, timeoutMs: timing.callTimeoutMs });
  }
}

export function receiptsDueMs(books: Iterable<Book>): number | undefined {
  let due: number | undefined;
  for (const book of books) {
    const at = book.call?.overdueAtMs ?? (isWaiting(book) ? book.nextAtMs : undefined);
    if (at !== undefined && (due === undefined || at < due)) due = at;
  }
  return due;
}

/** Signed anew where our key has changed since: the peer may have forgotten the old one. What is signed stays the same. */
function provedNow(turn: LedgerTurn, peering: Peering, record: LedgerRecord): LedgerRecord {
  const key = ownKeyFor(turn, peering);
  if (key === undefined || key.publicKey === record.lenderProof.key) return record;
  const proved = { ...record, lenderProof: prove(receiptText(record.receipt), key) };
  putReceipt(turn, proved);
  return proved;
}

/** Takes what the borrower said to the receipts that were sent. */
export function takeOutcome(turn: LedgerTurn, book: Book, outcome: BurstOutcome): void {
  book.call = undefined;
  if (outcome.kind === "answered" && outcome.answer.kind === "verdicts") {
    const peering = turn.env.peering(book.peer);
    const { verdicts, next, recalled = [] } = outcome.answer.body;
    if (peering !== undefined && book.recall !== undefined && recalled.length > 0) {
      const more = adoptRecalled(turn, book, peering, recalled);
      book.recall = more && next > book.sequence + 1 ? recalled.length + book.recall : undefined;
      if (more) Object.assign(book, { tries: 0, nextAtMs: turn.env.nowMs });
      else fail(turn, book);
      return;
    }
    book.recall = undefined;
    const taken = peering === undefined ? 0 : verdicts.filter((said) => settle(turn, book, peering, said)).length;
    const lowest = lowestOpen(book);
    book.again = next < lowest && book.recent.has(next) ? next : undefined;
    if (next < lowest && book.again === undefined)
      markRefused(turn, book, `it waits for receipt ${next}, which is not at hand any more`);
    if (taken === 0) fail(turn, book);
    else Object.assign(book, { tries: 0, nextAtMs: turn.env.nowMs });
    return;
  }
  if (outcome.kind === "refused" && !PASSING.has(outcome.refusal.kind)) {
    markRefused(turn, book, outcome.refusal.message);
    // A number of ours that the borrower has for another receipt: our store is older than its book.
    const [lowest] = book.open.keys();
    book.recall = book.recall === undefined && TAKEN.has(outcome.refusal.reason) ? lowest : undefined;
  }
  fail(turn, book);
}

/** Keeps with the first open receipt why it gets no verdict, and says so once. */
function markRefused(turn: LedgerTurn, book: Book, message: string): void {
  const [first] = book.open.values();
  if (first === undefined || first.refused === message) return;
  putReceipt(turn, { ...first, refused: message });
  const what = `it does not take receipt ${first.receipt.sequence}: ${message}`;
  turn.effects.push({ kind: "tell", peer: book.peer, message: what.slice(0, 500) });
}

/** One verdict: taken where it is signed by the borrower and means the receipt that we have. */
function settle(turn: LedgerTurn, book: Book, peering: Peering, { verdict, proof }: SignedVerdict): boolean {
  const record = book.open.get(verdict.sequence) ?? book.recent.get(verdict.sequence);
  if (record === undefined || record.digest !== verdict.receipt) return false;
  const evidence = evidenceOf(verdictText(record.receipt, verdict), proof, keysOf(peering));
  if (evidence === undefined) {
    noteRefusal(turn, book, `its verdict on receipt ${verdict.sequence} is not signed by its key`);
    return false;
  }
  if (record.borrowerProof?.proof === proof) return true;
  const { refused: _, ...rest } = record;
  const settledAtMs = turn.env.nowMs;
  putReceipt(turn, { ...rest, state: verdict.verdict, verdict, borrowerProof: evidence, settledAtMs });
  if (verdict.verdict === "disputed") {
    const message = `it disputes receipt ${verdict.sequence}: ${verdict.reason ?? "without a reason"}`;
    turn.effects.push({ kind: "tell", peer: book.peer, message });
  }
  return true;
}

function fail(turn: LedgerTurn, book: Book): void {
  const { retryMs, retryMsMax } = turn.timing;
  book.call = undefined;
  book.nextAtMs = turn.env.nowMs + Math.min(retryMsMax, retryMs * 2 ** Math.min(book.tries, 20));
  book.tries += 1;
}

function isWaiting({ side, open, call, again }: Book): boolean {
  return side === "lent" && call === undefined && (open.size > 0 || again !== undefined);
}

function lowestOpen({ open, sequence }: Book): number {
  const [lowest] = open.keys();
  return lowest ?? sequence + 1;
}

function batchOf(book: Book): LedgerRecord[] {
  const from = book.again ?? lowestOpen(book);
  const batch: LedgerRecord[] = [];
  for (let sequence = from; batch.length < RECEIPTS_BATCH_MAX; sequence += 1) {
    const record = book.open.get(sequence) ?? book.recent.get(sequence);
    if (record === undefined) break;
    batch.push(record);
  }
  return batch;
}
