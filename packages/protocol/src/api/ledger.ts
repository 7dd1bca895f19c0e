/** The ledger as the HTTP API and the command line show it. */
import { z } from "zod";
import { proofSchema, receiptSchema, verdictSchema } from "../ledger/receipt.ts";

export const ledgerSideSchema = z.enum(["lent", "borrowed"]);
/** `lent`: we are the lender; `borrowed`: the peer is. */
export type LedgerSide = z.output<typeof ledgerSideSchema>;

/** `open`: the borrower has not answered yet, or refused to; the other two are its verdict. */
export const ledgerStateSchema = z.enum(["open", "agreed", "disputed"]);
export type LedgerState = z.output<typeof ledgerStateSchema>;

/** A signature with the public key (JWK `x`) that it is to be checked against. */
const evidenceSchema = z.object({ proof: proofSchema, key: z.string() });

export const ledgerEntrySchema = z.object({
  side: ledgerSideSchema,
  peer: z.string(),
  state: ledgerStateSchema,
  receipt: receiptSchema,
  digest: z.string(),
  verdict: verdictSchema.optional(),
  /** What the borrower refused it with, where it did not give a verdict. */
  refused: z.string().optional(),
  madeAt: z.iso.datetime(),
  settledAt: z.iso.datetime().optional(),
  lenderProof: evidenceSchema,
  borrowerProof: evidenceSchema.optional(),
});
export type LedgerEntryView = z.output<typeof ledgerEntrySchema>;

const totalsSchema = z.object({
  receipts: z.int(),
  open: z.int(),
  disputed: z.int(),
  /** Thousandths of the unit: agreed figures, of disputed ones the borrower's. */
  amount: z.int(),
  /** Milliseconds times vCPUs, in the same way. */
  vcpuMs: z.int(),
});
export type LedgerTotals = z.output<typeof totalsSchema>;

/** What two sites did for each other; `net` is what we lent less what we borrowed. */
export const ledgerBalanceSchema = z.object({
  peer: z.string(),
  lent: totalsSchema,
  borrowed: totalsSchema,
  net: z.object({ amount: z.int(), vcpuHours: z.number() }),
  /** Receipts of the peer that were refused since this manager leads, and why the last one was. */
  refused: z.int(),
  lastRefusal: z.string().optional(),
});
export type LedgerBalanceView = z.output<typeof ledgerBalanceSchema>;

export const ledgerFindingSchema = z.object({
  side: ledgerSideSchema,
  peer: z.string(),
  sequence: z.int(),
  /** `gap`, `chain`, `digest`, `amount`, `lender-signature`, `borrower-signature`, `state`, `unreadable`, `foreign-key`. */
  fault: z.string(),
  message: z.string(),
});
export type LedgerFinding = z.output<typeof ledgerFindingSchema>;

export const ledgerVerificationSchema = z.object({
  receipts: z.int(),
  books: z.int(),
  findings: z.array(ledgerFindingSchema),
  /** Whether there were more findings than are listed. */
  truncated: z.boolean(),
});
export type LedgerVerification = z.output<typeof ledgerVerificationSchema>;
