/** What both books hold: one entry a receipt, and for every lease that runs a meter. Times are site time. */
import type { LedgerSide, LedgerState, LedgerTotals, Receipt, Resources, UnitPrices, Verdict } from "@muster/protocol";

/** A detached JWS, and the public key (JWK `x`) against which it was checked, or with which it was made. */
export type Evidence = { readonly proof: string; readonly key: string };

/** One receipt with its verdict; stored under `receipt/<side>/<peer>/<sequence>` before the other side hears of it (L3). */
export type LedgerRecord = {
  readonly side: LedgerSide;
  readonly peer: string;
  readonly receipt: Receipt;
  /** SHA-256 of the receipt: what the next one names, and what a repeat must have (B1). */
  readonly digest: string;
  readonly lenderProof: Evidence;
  readonly state: LedgerState;
  readonly verdict?: Verdict | undefined;
  readonly borrowerProof?: Evidence | undefined;
  /** Why the borrower did not even give a verdict, as it last said. */
  readonly refused?: string | undefined;
  readonly madeAtMs: number;
  readonly settledAtMs?: number | undefined;
};

/**
 * Measures one lease: the lender from the VM's first `running` until it is gone, the borrower from when it was told so.
 * Stored under `meter/<side>/<peer>/<lease>`, until the final receipt is there.
 */
export type MeterRecord = {
  readonly side: LedgerSide;
  readonly peer: string;
  readonly lease: string;
  readonly vm: string;
  readonly project: string;
  readonly owner: string;
  readonly image: string;
  readonly resources: Resources;
  /** As the lender said them with the hold, and the borrower accepted. */
  readonly prices: UnitPrices;
  /** Absent at a borrower that was never told that the VM runs. */
  readonly sinceMs?: number | undefined;
  readonly endedMs?: number | undefined;
  /** Up to where receipts go, counted from `sinceMs` of the lender. */
  readonly receiptedMs: number;
};

/**
 * What all receipts of a book up to `upTo` come to, none of them open: whoever begins to lead need not read them again. Stored
 * under `book/<side>/<peer>` with a receipt, now and then; what came since is counted anew.
 */
export type BookRecord = {
  readonly side: LedgerSide;
  readonly peer: string;
  readonly upTo: number;
  readonly totals: LedgerTotals;
};

export function bookKey({ side, peer }: Pick<BookRecord, "side" | "peer">): string {
  return `book/${side}/${peer}`;
}

export function receiptKey({ side, peer, receipt }: Pick<LedgerRecord, "side" | "peer" | "receipt">): string {
  return `receipt/${side}/${peer}/${String(receipt.sequence).padStart(16, "0")}`;
}

export function meterKey({ side, peer, lease }: Pick<MeterRecord, "side" | "peer" | "lease">): string {
  return `meter/${side}/${peer}/${lease}`;
}
