/**
 * `receipts`: a lender's statement of what a borrower used, in the order of the book, each signed by itself so that it can be
 * shown later; `verdicts`: what the borrower says to each, signed as well (B6). IQ set between `cloud.` components.
 * Namespace urn:muster:burst:1, version 1.
 */
import { z } from "zod";
import { digestSchema, imageReferenceSchema, lineSchema, siteDomainSchema, uuidSchema, vmIdSchema } from "../ids.ts";
import { NS_BURST } from "../namespaces.ts";
import { resourcesSchema } from "../resources.ts";
import { type Fields, flag, integer, line, nested, nestedList, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { resourceFields } from "../xml/spec-fields.ts";
import { unitPricesFields, unitPricesSchema } from "./prices.ts";

/** Most receipts in one stanza: with their proofs they stay below 10 KB. */
export const RECEIPTS_BATCH_MAX = 6;
/** What stands for the digest before the first receipt of a book. */
export const NO_DIGEST = "0".repeat(64);

const offsetMs = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const amountSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const sequenceSchema = z.int().min(1).max(Number.MAX_SAFE_INTEGER);

export const receiptSchema = z.object({
  id: uuidSchema,
  /** Place in the lender's book for this borrower: from 1, without a gap. */
  sequence: sequenceSchema,
  lender: siteDomainSchema,
  borrower: siteDomainSchema,
  lease: uuidSchema,
  vm: vmIdSchema,
  project: z.string().min(1).max(63),
  owner: z.string().min(1).max(63),
  image: imageReferenceSchema,
  /** The stretch, counted from the moment at which the VM first ran at the lender. */
  fromMs: offsetMs,
  untilMs: offsetMs,
  /** Nothing more comes for this lease: the VM is gone. */
  final: z.boolean(),
  /** When the VM first ran by the lender's wall clock: for people, no decision rests on it. */
  startedAt: z.iso.datetime(),
  resources: resourcesSchema,
  prices: unitPricesSchema,
  /** Thousandths of the unit, see `amountOf`. */
  amount: amountSchema,
  /** Digest of the receipt before it in the book; `NO_DIGEST` in the first. */
  previous: digestSchema,
});
export type Receipt = Readonly<z.output<typeof receiptSchema>>;

export const receiptFields: Fields<Receipt> = {
  id: text,
  sequence: integer,
  lender: text,
  borrower: text,
  lease: text,
  vm: text,
  project: text,
  owner: text,
  image: text,
  fromMs: integer,
  untilMs: integer,
  final: flag,
  startedAt: text,
  resources: nested(resourceFields),
  prices: nested(unitPricesFields),
  amount: integer,
  previous: text,
};

/** A detached JWS (RFC 7515 appendix F) over the canonical text of what it stands beside. */
export const proofSchema = z
  .string()
  .max(512)
  .regex(/^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+$/, "must be a detached JWS");

const signedReceiptSchema = z.object({ receipt: receiptSchema, proof: proofSchema });
export type SignedReceipt = z.output<typeof signedReceiptSchema>;

export const receiptsSchema = z.object({
  receipts: z.array(signedReceiptSchema).min(1).max(RECEIPTS_BATCH_MAX),
  /** The lender's store went back: from this number on it asks for its own receipts, as the borrower has them. */
  recall: sequenceSchema.optional(),
});
export type Receipts = z.output<typeof receiptsSchema>;
export const receiptsMessage = defineMessage({
  name: "receipts",
  namespace: NS_BURST,
  schema: receiptsSchema,
  fields: {
    receipts: nestedList<SignedReceipt>("entry", { receipt: nested(receiptFields), proof: line }),
    recall: integer,
  },
});

/** What the borrower says to one receipt, with its own figures beside the lender's. */
export const verdictSchema = z.object({
  sequence: sequenceSchema,
  /** Of the receipt that is meant. */
  receipt: digestSchema,
  verdict: z.enum(["agreed", "disputed"]),
  /** How much of the receipt's stretch the borrower measured, and what that costs by the receipt's prices. */
  ownMs: offsetMs,
  ownAmount: amountSchema,
  /** Why it is disputed. */
  reason: lineSchema.max(200).optional(),
});
export type Verdict = Readonly<z.output<typeof verdictSchema>>;

const signedVerdictSchema = z.object({ verdict: verdictSchema, proof: proofSchema });
export type SignedVerdict = z.output<typeof signedVerdictSchema>;

export const verdictFields: Fields<Verdict> = {
  sequence: integer,
  receipt: text,
  verdict: text,
  ownMs: integer,
  ownAmount: integer,
  reason: line,
};

/** A receipt as it stands in the borrower's book, with both signatures. */
const recalledSchema = z.object({
  receipt: receiptSchema,
  proof: proofSchema,
  verdict: verdictSchema,
  countersign: proofSchema,
});
export type RecalledReceipt = z.output<typeof recalledSchema>;

export const verdictsSchema = z.object({
  /** The sequence that the borrower waits for next: above it nothing was taken. */
  next: sequenceSchema,
  verdicts: z.array(signedVerdictSchema).max(RECEIPTS_BATCH_MAX),
  /** In order, from the number that the lender recalls; absent where it recalls none. */
  recalled: z.array(recalledSchema).min(1).max(RECEIPTS_BATCH_MAX).optional(),
});
export type Verdicts = z.output<typeof verdictsSchema>;
const recalledField = nestedList<RecalledReceipt>("recalled", {
  receipt: nested(receiptFields),
  proof: line,
  verdict: nested(verdictFields),
  countersign: line,
});
export const verdictsMessage = defineMessage({
  name: "verdicts",
  namespace: NS_BURST,
  schema: verdictsSchema,
  fields: {
    next: integer,
    verdicts: nestedList<SignedVerdict>("entry", { verdict: nested(verdictFields), proof: line }),
    recalled: {
      ...recalledField,
      // What is signed must not depend on whether a site knows this list.
      read: (element, name) =>
        element.getChild("recalled") === undefined ? undefined : recalledField.read(element, name),
    },
  },
});
