/** What sites say to each other about what was used, and prices. */
export { amountOf, NO_PRICES, type UnitPrices, unitPricesSchema } from "./prices.ts";
export {
  NO_DIGEST,
  proofSchema,
  RECEIPTS_BATCH_MAX,
  type RecalledReceipt,
  type Receipt,
  type Receipts,
  receiptSchema,
  receiptsMessage,
  receiptsSchema,
  type SignedReceipt,
  type SignedVerdict,
  type Verdict,
  type Verdicts,
  verdictSchema,
  verdictsMessage,
  verdictsSchema,
} from "./receipt.ts";
