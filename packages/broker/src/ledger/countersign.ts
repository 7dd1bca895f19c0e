/** The borrower's half: every receipt is checked, judged, countersigned and booked before it is answered. */
import {
  digestOf,
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
import { type Evidence, meterKey } from "./ledger-record.ts";
import { dropMeter, keysOf, type LedgerTurn, noteRefusal, ownKeyFor, putMeter, putReceipt } from "./ledger-turn.ts";
import { evidenceOf, prove, receiptText, verdictText } from "./proof.ts";

type Said = { readonly kind: "said"; readonly said: SignedVerdict };
type NotTaken = { readonly kind: "refused"; readonly refusal: Refusal } | { readonly kind: "gap" };

/**
 * Takes receipts in order. Verdicts are given up to the first that cannot be taken; a gap is no fault, the answer says which one
 * is wanted next. Where not even the first can be taken, the refusal says why.
 */
export function takeReceipts(turn: LedgerTurn, peer: string, ticket: number, { receipts }: Receipts): void {
  const peering = turn.env.peering(peer);
  if (peering === undefined) {
    const why = refusal("forbidden", "not-peered", `${peer} has no peering with this site; ask its admin for one`);
    turn.effects.push({ kind: "refuse", ticket, refusal: why });
    return;
  }
  const book = bookOf(turn.set, "borrowed", peer);
  const verdicts: SignedVerdict[] = [];
  for (const signed of receipts) {
    const taken = takeOne(turn, book, peering, signed);
    if (taken.kind === "gap") break;
    if (taken.kind === "refused") {
      const { sequence } = signed.receipt;
      noteRefusal(turn, book, `receipt ${sequence} was refused: ${taken.refusal.message}`.slice(0, 500));
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
  return { kind: "said", said: enter(turn, peering, signed, digest, evidence) };
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
  const { verdict, receipt } = known;
  const key = ownKeyFor(turn, peering);
  const renewed = key !== undefined && key.publicKey !== known.borrowerProof.key;
  const borrowerProof = renewed ? prove(verdictText(receipt, verdict), key) : known.borrowerProof;
  if (renewed || lenderProof.key !== known.lenderProof.key) putReceipt(turn, { ...known, lenderProof, borrowerProof });
  return { kind: "said", said: { verdict, proof: borrowerProof.proof } };
}

/** Judges, countersigns and books a receipt that is in its place. */
function enter(
  turn: LedgerTurn,
  peering: Peering,
  { receipt }: SignedReceipt,
  digest: string,
  lenderProof: Evidence,
): SignedVerdict {
  const { env, set, timing } = turn;
  const peer = peering.domain;
  const meter = set.meters.get(meterKey({ side: "borrowed", peer, lease: receipt.lease }));
  const own = judge(receipt, { meter, nowMs: env.nowMs, toleranceMs: timing.toleranceMs });
  const verdict: Verdict = { sequence: receipt.sequence, receipt: digest, ...own };
  const key = ownKeyFor(turn, peering);
  if (key === undefined) throw new Error("the site has no key to countersign with");
  const borrowerProof = prove(verdictText(receipt, verdict), key);
  putReceipt(turn, {
    ...{ side: "borrowed", peer, receipt, digest, lenderProof, state: verdict.verdict, verdict, borrowerProof },
    ...{ madeAtMs: env.nowMs, settledAtMs: env.nowMs },
  });
  if (verdict.verdict === "disputed") {
    const message = `we dispute its receipt ${receipt.sequence}: ${verdict.reason ?? "without a reason"}`;
    turn.effects.push({ kind: "tell", peer, message });
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
