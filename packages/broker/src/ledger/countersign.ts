/** The borrower's half: every receipt is checked, judged, countersigned and booked before it is answered. */
import {
  digestOf,
  RECEIPTS_BATCH_MAX,
  type RecalledReceipt,
  type Receipt,
  type Receipts,
  type Refusal,
  refusal,
  type SignedReceipt,
  type SignedVerdict,
  type Verdict,
} from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { judge } from "./judge.ts";
import { type Book, bookOf } from "./ledger-book.ts";
import { ODD_RECEIPTS_PER_HOUR_MAX } from "./ledger-contract.ts";
import { type Evidence, type LedgerRecord, type MeterRecord, meterKey } from "./ledger-record.ts";
import { dropMeter, keysOf, type LedgerTurn, noteRefusal, ownKeyFor, putMeter, putReceipt } from "./ledger-turn.ts";
import { evidenceOf, prove, receiptText, verdictText } from "./proof.ts";

const HOUR_MS = 3_600_000;
/** Shorter stretches, but for the last, are nothing that an honest lender writes. */
const SHORT_MS = 1_000;

/** Reasons that no lender gets by accident. */
const FALSE_RECEIPTS: ReadonlySet<string> = new Set(["bad-receipt-proof", "receipt-altered", "wrong-sites"]);

type Said = { readonly kind: "said"; readonly said: SignedVerdict };
type NotTaken = { readonly kind: "refused"; readonly refusal: Refusal } | { readonly kind: "gap" };

/**
 * Takes receipts in order. Verdicts are given up to the first that cannot be taken; a gap is no fault, the answer says which one
 * is wanted next. Where not even the first can be taken, the refusal says why.
 */
export function takeReceipts(turn: LedgerTurn, peer: string, ticket: number, { receipts, recall }: Receipts): void {
  const peering = turn.env.peering(peer);
  if (peering === undefined) {
    const why = refusal("forbidden", "not-peered", `${peer} has no peering with this site; ask its admin for one`);
    turn.effects.push({ kind: "refuse", ticket, refusal: why });
    return;
  }
  const book = bookOf(turn.set, "borrowed", peer);
  const recalled = recall === undefined ? [] : recalledFrom(turn, peering, book, recall);
  if (recalled.length > 0) {
    const body = { next: book.sequence + 1, verdicts: [], recalled };
    turn.effects.push({ kind: "answer", ticket, answer: { kind: "verdicts", body } });
    return;
  }
  const verdicts: SignedVerdict[] = [];
  for (const signed of receipts) {
    const taken = takeOne(turn, book, peering, signed);
    if (taken.kind === "gap") break;
    if (taken.kind === "refused") {
      const { sequence } = signed.receipt;
      const why = `receipt ${sequence} was refused: ${taken.refusal.message}`.slice(0, 500);
      noteRefusal(turn, book, why, FALSE_RECEIPTS.has(taken.refusal.reason));
      if (verdicts.length > 0) break;
      turn.effects.push({ kind: "refuse", ticket, refusal: taken.refusal });
      return;
    }
    verdicts.push(taken.said);
  }
  const body = { next: book.sequence + 1, verdicts };
  turn.effects.push({ kind: "answer", ticket, answer: { kind: "verdicts", body } });
}

function takeOne(turn: LedgerTurn, book: Book, peering: Peering, signed: SignedReceipt): Said | NotTaken {
  const { receipt } = signed;
  if (receipt.lender !== peering.domain || receipt.borrower !== turn.domain)
    return refused("forbidden", "wrong-sites", "it is not between your site and this one", "lender");
  if (receipt.untilMs < receipt.fromMs)
    return refused("bad-request", "backwards", "it ends before it begins", "until-ms");
  const evidence = evidenceOf(receiptText(receipt), signed.proof, keysOf(peering));
  if (evidence === undefined)
    return refused("not-authorized", "bad-receipt-proof", `it is not signed by the key of ${peering.domain}`, "proof");
  const digest = digestOf(receipt);
  if (receipt.sequence <= book.sequence)
    return repeat(turn, peering, book, { sequence: receipt.sequence, digest, evidence });
  if (receipt.sequence > book.sequence + 1) return { kind: "gap" };
  if (receipt.previous !== book.digest)
    return refused("conflict", "chain-broken", "it does not follow the last receipt that was taken", "previous");
  const meter = turn.set.meters.get(meterKey({ side: "borrowed", peer: peering.domain, lease: receipt.lease }));
  const { timing, env } = turn;
  const judged = judge(receipt, { meter, nowMs: env.nowMs, toleranceMs: timing.toleranceMs });
  const short = !receipt.final && receipt.untilMs - receipt.fromMs < SHORT_MS;
  const waitMs = short || judged.verdict === "disputed" ? oddWaitMs(book, env.nowMs) : 0;
  if (waitMs > 0) return { kind: "refused", refusal: tooMany(waitMs) };
  const verdict: Verdict = { sequence: receipt.sequence, receipt: digest, ...judged };
  return { kind: "said", said: enter(turn, peering, { receipt, verdict, meter, lenderProof: evidence }) };
}

/** Counts one that our own leases do not bound; how long it has to wait where there were too many of them. */
function oddWaitMs(book: Book, nowMs: number): number {
  const over = nowMs - book.odd.sinceMs >= HOUR_MS;
  const { sinceMs, count } = over ? { sinceMs: nowMs, count: 0 } : book.odd;
  if (count >= ODD_RECEIPTS_PER_HOUR_MAX) return sinceMs + HOUR_MS - nowMs;
  book.odd = { sinceMs, count: count + 1 };
  return 0;
}

function tooMany(retryAfterMs: number): Refusal {
  const message = "too many receipts of your site were disputed here within the hour; speak with its admin";
  return refusal("resource-constraint", "too-many-disputes", message, { retryAfterMs });
}

type Repeated = { readonly sequence: number; readonly digest: string; readonly evidence: Evidence };

/**
 * The same again gets the same answer, by the keys of now; something else under a number that is taken gets none (B1).
 */
function repeat(
  turn: LedgerTurn,
  peering: Peering,
  book: Book,
  { sequence, digest, evidence: lenderProof }: Repeated,
): Said | NotTaken {
  const known = book.recent.get(sequence);
  if (known?.verdict === undefined || known.borrowerProof === undefined)
    return refused("conflict", "receipt-too-old", "its number was settled long ago", "sequence");
  if (known.digest !== digest)
    return refused("conflict", "receipt-altered", "another receipt was taken under its number", "sequence");
  return { kind: "said", said: sayAgain(turn, peering, known, lenderProof) };
}

/** The verdict as it stands in the book, by the keys of now. */
function sayAgain(turn: LedgerTurn, peering: Peering, known: LedgerRecord, lenderProof: Evidence): SignedVerdict {
  const { verdict, receipt, borrowerProof } = known;
  if (verdict === undefined || borrowerProof === undefined) throw new Error("a receipt in our book has no verdict");
  const key = ownKeyFor(turn, peering);
  const renewed = key !== undefined && key.publicKey !== borrowerProof.key;
  const proof = renewed ? prove(verdictText(receipt, verdict), key) : borrowerProof;
  if (renewed || lenderProof.key !== known.lenderProof.key)
    putReceipt(turn, { ...known, lenderProof, borrowerProof: proof });
  return { verdict, proof: proof.proof };
}

/** What a lender whose store went back has lost of its book: as we have it, with its own signature and ours. */
function recalledFrom(turn: LedgerTurn, peering: Peering, book: Book, from: number): RecalledReceipt[] {
  const recalled: RecalledReceipt[] = [];
  for (let sequence = from; recalled.length < RECEIPTS_BATCH_MAX; sequence += 1) {
    const known = book.recent.get(sequence);
    if (known === undefined) break;
    const { verdict, proof } = sayAgain(turn, peering, known, known.lenderProof);
    recalled.push({ receipt: known.receipt, proof: known.lenderProof.proof, verdict, countersign: proof });
  }
  return recalled;
}

type Judged = {
  readonly receipt: Receipt;
  readonly verdict: Verdict;
  readonly meter: MeterRecord | undefined;
  readonly lenderProof: Evidence;
};

/** Countersigns and books a receipt that is in its place. */
function enter(turn: LedgerTurn, peering: Peering, { receipt, verdict, meter, lenderProof }: Judged): SignedVerdict {
  const { env } = turn;
  const peer = peering.domain;
  const key = ownKeyFor(turn, peering);
  if (key === undefined) throw new Error("the site has no key to countersign with");
  const borrowerProof = prove(verdictText(receipt, verdict), key);
  const state = verdict.verdict;
  putReceipt(turn, {
    ...{ side: "borrowed", peer, receipt, digest: verdict.receipt, lenderProof, state, verdict, borrowerProof },
    ...{ madeAtMs: env.nowMs, settledAtMs: env.nowMs },
  });
  if (state === "disputed") {
    const message = `we dispute its receipt ${receipt.sequence}: ${verdict.reason ?? "without a reason"}`;
    turn.effects.push({ kind: "tell", peer, message, offence: true });
  }
  if (meter !== undefined) {
    if (receipt.final) dropMeter(turn, meter);
    else putMeter(turn, { ...meter, receiptedMs: Math.max(meter.receiptedMs, receipt.untilMs) });
  }
  return { verdict, proof: borrowerProof.proof };
}

function refused(kind: Refusal["kind"], reason: string, message: string, field: string): NotTaken {
  return { kind: "refused", refusal: refusal(kind, reason, message, { field }) };
}
