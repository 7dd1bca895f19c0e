/**
 * A lender whose store was put back to an older backup has lost receipts that its borrower took. They carry its own signature: it
 * takes them into its book again, with their verdicts, and numbers anew what it wrote since (B6).
 */
import { amountOf, digestOf, type RecalledReceipt, type Receipt } from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { type Book, lastSettled, withdrawOpen } from "./ledger-book.ts";
import { type LedgerRecord, meterKey, receiptKey } from "./ledger-record.ts";
import { dropMeter, keysOf, type LedgerTurn, noteRefusal, ownKeyFor, putMeter, putReceipt } from "./ledger-turn.ts";
import { evidenceOf, prove, receiptText, verdictText } from "./proof.ts";

/**
 * Takes back what is ours, in place and countersigned, up to the first that is not; open receipts that have no such twin follow,
 * under new numbers. Whether any was taken.
 */
export function adoptRecalled(
  turn: LedgerTurn,
  book: Book,
  peering: Peering,
  recalled: readonly RecalledReceipt[],
): boolean {
  const [lowest] = book.open.keys();
  const key = ownKeyFor(turn, peering);
  if (lowest === undefined || key === undefined || recalled[0]?.receipt.sequence !== lowest) return false;
  const settled = lastSettled(book)?.receipt.sequence ?? 0;
  // A verdict above an open receipt: the book did not simply go back.
  if (settled >= lowest) return false;
  const withdrawn = withdrawOpen(book);
  for (const record of withdrawn) turn.changes.push({ kind: "delete", key: receiptKey(record) });
  let taken = 0;
  for (const entry of recalled) {
    const record = ownRecord(turn, book, peering, entry);
    if (record === undefined) {
      noteRefusal(
        turn,
        book,
        `what it says is our receipt ${entry.receipt.sequence} is not signed by us, or out of place`,
      );
      break;
    }
    putReceipt(turn, record);
    catchUp(turn, record);
    taken += 1;
  }
  for (const record of withdrawn) writeAnew(turn, book, record, key);
  if (taken > 0) {
    const message = `${taken} receipts that our store had lost are taken back from it; what is open is numbered anew`;
    turn.effects.push({ kind: "tell", peer: book.peer, message });
  }
  return taken > 0;
}

/** The next receipt of our book, as we once signed it and the borrower settled it. */
function ownRecord(
  turn: LedgerTurn,
  book: Book,
  peering: Peering,
  { receipt, proof, verdict, countersign }: RecalledReceipt,
): LedgerRecord | undefined {
  const digest = digestOf(receipt);
  const inPlace = receipt.sequence === book.sequence + 1 && receipt.previous === book.digest;
  const between = receipt.lender === turn.domain && receipt.borrower === book.peer;
  if (!inPlace || !between || verdict.receipt !== digest || verdict.sequence !== receipt.sequence) return undefined;
  const own = turn.keys().map(({ publicKey }) => publicKey);
  const lenderProof = evidenceOf(receiptText(receipt), proof, own);
  const borrowerProof = evidenceOf(verdictText(receipt, verdict), countersign, keysOf(peering));
  if (lenderProof === undefined || borrowerProof === undefined) return undefined;
  const { nowMs } = turn.env;
  const entry = { side: "lent", peer: book.peer, receipt, digest, lenderProof, state: verdict.verdict } as const;
  return { ...entry, verdict, borrowerProof, madeAtMs: nowMs, settledAtMs: nowMs };
}

/** What was counted already is not counted again. */
function catchUp(turn: LedgerTurn, { peer, receipt }: LedgerRecord): void {
  const meter = turn.set.meters.get(meterKey({ side: "lent", peer, lease: receipt.lease }));
  if (meter === undefined) return;
  if (receipt.final) dropMeter(turn, meter);
  else if (receipt.untilMs > meter.receiptedMs) putMeter(turn, { ...meter, receiptedMs: receipt.untilMs });
}

/** The same use under the next number, less what receipts that were taken back say already. */
function writeAnew(
  turn: LedgerTurn,
  book: Book,
  { receipt: before, madeAtMs }: LedgerRecord,
  key: Parameters<typeof prove>[1],
): void {
  const counted = [...book.recent.values(), ...book.open.values()].filter(
    ({ receipt }) => receipt.lease === before.lease,
  );
  if (counted.some(({ receipt }) => receipt.final)) return;
  const fromMs = counted.reduce((upTo, { receipt }) => Math.max(upTo, receipt.untilMs), 0);
  const untilMs = Math.max(fromMs, before.untilMs);
  if (untilMs === fromMs && !before.final) return;
  const { resources, prices } = before;
  const receipt: Receipt = {
    ...before,
    ...{ id: turn.env.newId(), sequence: book.sequence + 1, previous: book.digest, fromMs, untilMs },
    amount: amountOf(resources, prices, untilMs - fromMs),
  };
  putReceipt(turn, {
    ...{ side: "lent", peer: book.peer, receipt, digest: digestOf(receipt), state: "open", madeAtMs },
    lenderProof: prove(receiptText(receipt), key),
  });
}
