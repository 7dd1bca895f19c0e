import type { LedgerRecord, MeterRecord } from "@muster/broker";
import {
  ledgerSideSchema,
  ledgerStateSchema,
  receiptSchema,
  resourcesSchema,
  unitPricesSchema,
  verdictSchema,
} from "@muster/protocol";
import { z } from "zod";

const evidenceSchema = z.object({ proof: z.string(), key: z.string() });

export const ledgerRecordSchema = z.object({
  side: ledgerSideSchema,
  peer: z.string().min(1),
  receipt: receiptSchema,
  digest: z.string(),
  lenderProof: evidenceSchema,
  state: ledgerStateSchema,
  verdict: verdictSchema.optional(),
  borrowerProof: evidenceSchema.optional(),
  refused: z.string().optional(),
  madeAtMs: z.number(),
  settledAtMs: z.number().optional(),
}) satisfies z.ZodType<LedgerRecord>;

export const meterRecordSchema = z.object({
  side: ledgerSideSchema,
  peer: z.string().min(1),
  lease: z.string().min(1),
  vm: z.string(),
  project: z.string(),
  owner: z.string(),
  image: z.string(),
  resources: resourcesSchema,
  prices: unitPricesSchema,
  sinceMs: z.number().optional(),
  endedMs: z.number().optional(),
  receiptedMs: z.number(),
}) satisfies z.ZodType<MeterRecord>;
