/** Checks the books again from the store alone: chain, gaps, amounts, signatures and states, receipt by receipt (B6). */
import { amountOf, digestOf, type LedgerFinding, type LedgerVerification, NO_DIGEST } from "@muster/protocol";
import type { Evidence, LedgerRecord } from "./ledger-record.ts";
import { evidenceOf, receiptText, verdictText } from "./proof.ts";

/** Most findings that are listed (S2). */
export const FINDINGS_MAX = 1_000;

export type LedgerCheckOptions = {
  readonly domain: string;
  /** Public keys of ours that we know of. */
  readonly ownKeys: readonly string[];
  /** Keys pinned for the peer now. */
  readonly keysOf: (peer: string) => readonly string[];
};

export type LedgerCheck = {
  /** Takes the next entry; those of one book come in the order of their sequence. */
  take(record: LedgerRecord): void;
  /** An entry that cannot even be read. */
  unreadable(key: string, message: string): void;
  end(): LedgerVerification;
};

/** A check of all books, entry by entry: nothing of one is kept but its number and digest. */
export function createLedgerCheck(options: LedgerCheckOptions): LedgerCheck {
  const books = new Map<string, { sequence: number; digest: string }>();
  const findings: LedgerFinding[] = [];
  let receipts = 0;
  let found = 0;
  const add = (finding: LedgerFinding): void => {
    found += 1;
    if (findings.length < FINDINGS_MAX) findings.push(finding);
  };
  return {
    take(record) {
      receipts += 1;
      const { side, peer, receipt } = record;
      const book = books.get(`${side}/${peer}`) ?? { sequence: 0, digest: NO_DIGEST };
      const say = (fault: string, message: string): void =>
        add({ side, peer, sequence: receipt.sequence, fault, message });
      if (receipt.sequence !== book.sequence + 1)
        say("gap", `receipts ${book.sequence + 1} to ${receipt.sequence - 1} are missing`);
      else if (receipt.previous !== book.digest) say("chain", "it does not follow the receipt before it");
      checkEntry(options, record, say);
      books.set(`${side}/${peer}`, { sequence: receipt.sequence, digest: record.digest });
    },
    unreadable(key, message) {
      receipts += 1;
      const [, side, peer = "", sequence] = key.split("/");
      const where = { side: side === "lent" ? side : "borrowed", peer, sequence: Number(sequence) || 0 } as const;
      add({ ...where, fault: "unreadable", message: message.slice(0, 300) });
    },
    end: () => ({ receipts, books: books.size, findings, truncated: found > findings.length }),
  };
}

function checkEntry(
  options: LedgerCheckOptions,
  record: LedgerRecord,
  say: (fault: string, message: string) => void,
): void {
  const { side, peer, receipt, digest, verdict, borrowerProof, lenderProof, state } = record;
  const sites = side === "lent" ? [options.domain, peer] : [peer, options.domain];
  if (receipt.lender !== sites[0] || receipt.borrower !== sites[1]) say("sites", "it is not between these two sites");
  if (digestOf(receipt) !== digest) say("digest", "the receipt is not the one that was booked");
  const usedMs = receipt.untilMs - receipt.fromMs;
  const amount = usedMs < 0 ? -1 : amountOf(receipt.resources, receipt.prices, usedMs);
  if (amount !== receipt.amount && state !== "disputed")
    say("amount", `it asks for ${receipt.amount}; by its own prices it is ${amount}`);
  const known = { lender: options.keysOf(peer), borrower: options.ownKeys };
  const keys = side === "lent" ? { lender: options.ownKeys, borrower: known.lender } : known;
  checkSignature("lender", receiptText(receipt), lenderProof, keys.lender, say);
  if (verdict === undefined || borrowerProof === undefined) {
    if (state !== "open" || verdict !== undefined || borrowerProof !== undefined)
      say("state", `it is ${state} without a signed verdict`);
    return;
  }
  if (state !== verdict.verdict) say("state", `it is ${state}; the verdict says ${verdict.verdict}`);
  if (verdict.receipt !== digest || verdict.sequence !== receipt.sequence)
    say("state", "the verdict is on another receipt");
  checkSignature("borrower", verdictText(receipt, verdict), borrowerProof, keys.borrower, say);
}

function checkSignature(
  who: "lender" | "borrower",
  text: string,
  { proof, key }: Evidence,
  known: readonly string[],
  say: (fault: string, message: string) => void,
): void {
  if (evidenceOf(text, proof, [key]) === undefined) say(`${who}-signature`, `the ${who}'s signature does not fit`);
  else if (!known.includes(key)) say("foreign-key", `the ${who} signed it with a key that is not pinned: ${key}`);
}
