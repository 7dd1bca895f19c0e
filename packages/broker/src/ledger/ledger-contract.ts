/**
 * The ledger as the cluster manager's core sees it: a pure state machine over both books with every peer (B6). Every change
 * is to be committed before any effect is carried out (L3).
 */
import type { LedgerBalanceView, Receipts, Refusal } from "@muster/protocol";
import type { BorrowRecord } from "../borrow/borrower-contract.ts";
import type { BurstAnswer, BurstOutcome, LedgerRequest } from "../burst-message.ts";
import type { LendRecord } from "../lend/lender-contract.ts";
import type { Peering } from "../peering/peering.ts";
import type { BookRecord, LedgerRecord, MeterRecord } from "./ledger-record.ts";

export type LedgerTiming = {
  /** A receipt at least so often for a lease that goes on. */
  readonly everyMs: number;
  /** By how much a lender may be above our own measure of a lease, all in all, before we dispute it. */
  readonly toleranceMs: number;
  /** First and longest pause before unanswered receipts are sent again. */
  readonly retryMs: number;
  readonly retryMsMax: number;
  readonly callTimeoutMs: number;
  /** How long the meter of an ended lease waits for the lender's final receipt. */
  readonly meterKeepMs: number;
};

export const LEDGER_TIMING: LedgerTiming = {
  everyMs: 3_600_000,
  toleranceMs: 60_000,
  retryMs: 1_000,
  retryMsMax: 600_000,
  callTimeoutMs: 10_000,
  meterKeepMs: 30 * 24 * 3_600_000,
};

/** Receipts of one peer that wait for its answer; beyond it only leases that end get one (S2). */
export const OPEN_RECEIPTS_MAX = 10_000;
/** Settled receipts of one book kept at hand, for repeats (B1); older ones are in the store only. */
export const RECENT_MAX = 1_000;
/** How many more receipts a stored book speaks for than the one stored before. */
export const BOOK_EVERY = 256;
/**
 * Receipts of one lender an hour that our own leases do not bound: disputed ones, and stretches shorter than a second that are
 * not the last. What is beyond waits (S2).
 */
export const ODD_RECEIPTS_PER_HOUR_MAX = 1_000;
/** Receipts written in one step: the rest comes with the next. */
export const RECEIPTS_PER_STEP_MAX = 256;

export type LedgerEvent =
  /** An exchange that we lend or borrow by changed: its meter starts or stops. */
  | { readonly kind: "lent"; readonly record: LendRecord }
  | { readonly kind: "borrowed"; readonly record: BorrowRecord }
  | { readonly kind: "receipts"; readonly peer: string; readonly ticket: number; readonly body: Receipts }
  | { readonly kind: "answer"; readonly peer: string; readonly call: string; readonly outcome: BurstOutcome }
  | { readonly kind: "tick" };

export type LedgerEnv = {
  readonly nowMs: number;
  newId(): string;
  peering(domain: string): Peering | undefined;
};

export type LedgerChange =
  | { readonly kind: "put"; readonly key: string; readonly value: LedgerRecord | MeterRecord | BookRecord }
  | { readonly kind: "delete"; readonly key: string };

export type LedgerEffect =
  | { readonly kind: "answer"; readonly ticket: number; readonly answer: BurstAnswer }
  | { readonly kind: "refuse"; readonly ticket: number; readonly refusal: Refusal }
  | {
      readonly kind: "send";
      readonly peer: string;
      readonly call: string;
      readonly request: LedgerRequest;
      readonly timeoutMs: number;
    }
  /** One line for the admin: a dispute, or something that was refused. `offence`: no honest lender says such a thing. */
  | { readonly kind: "tell"; readonly peer: string; readonly message: string; readonly offence?: boolean };

export type LedgerStep = { readonly changes: readonly LedgerChange[]; readonly effects: readonly LedgerEffect[] };

/** What a peer and we did for each other: positive where we did more. The same figures as the balances that are shown. */
export type Favour = { readonly amount: number; readonly vcpuMs: number };

export type Ledger = {
  /** `records`: those at least that the books do not speak for. */
  load(records: Iterable<LedgerRecord>, meters: Iterable<MeterRecord>, books?: Iterable<BookRecord>): void;
  step(event: LedgerEvent, env: LedgerEnv): LedgerStep;
  /** Whether the answer to this call is the ledger's. */
  owns(call: string): boolean;
  /** By peer, sorted. */
  balances(): LedgerBalanceView[];
  /** What we lent the peer less what we borrowed of it: for a borrower's ranking and a lender's fairness. */
  favourOf(peer: string): Favour;
  nextDueMs(): number | undefined;
};
