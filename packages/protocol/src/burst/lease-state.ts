/**
 * The state of an exchange at its lender, with a revision that rises with every change: sent as notice by message, pulled
 * in batch by revision when in doubt. Namespace urn:muster:burst:1, version 1.
 */
import { z } from "zod";
import { accessFields, accessSchema } from "../host/access.ts";
import { tunnelEndFields, tunnelEndSchema } from "../host/tunnel-end.ts";
import { lineSchema, uuidSchema } from "../ids.ts";
import { NS_BURST } from "../namespaces.ts";
import { type Fields, flag, integer, line, nested, nestedList, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";

/**
 * `held` → `leased` → `releasing` → `released`. `released` is final: nothing of the VM is left at the lender.
 * `voided` is the tombstone of an exchange that was cancelled or ran out before it was leased: it never runs (B3).
 */
export const exchangeStageSchema = z.enum(["held", "leased", "releasing", "released", "voided"]);
export type ExchangeStage = z.output<typeof exchangeStageSchema>;

export const leaseStateSchema = z.object({
  id: uuidSchema,
  revision: z.int().min(1),
  stage: exchangeStageSchema,
  /** What is left of the hold or lease by the lender's clock; 0 after its end. */
  remainingMs: z.int().min(0),
  /** What the VM is at the lender, as its user would see it; absent before the lease. */
  vm: z
    .enum(["queued", "placing", "running", "paused", "stopped", "in-doubt", "deleting", "deleted", "refused"])
    .optional(),
  address: z.string().max(64).optional(),
  /** Where its ssh is reached from outside, where the VM is behind an address of the lender's. */
  access: accessSchema.optional(),
  /** The end of its tunnel at the host that it has now. */
  tunnel: tunnelEndSchema.optional(),
  reason: lineSchema.optional(),
  /** The lender wants the room back: it ends the lease after this time, for `reason`, and renews it no further. */
  endsWithinMs: z.int().min(0).optional(),
});
export type LeaseState = z.output<typeof leaseStateSchema>;

export const leaseStateFields: Fields<LeaseState> = {
  id: text,
  revision: integer,
  stage: text,
  remainingMs: integer,
  vm: text,
  address: text,
  access: nested(accessFields),
  tunnel: nested(tunnelEndFields),
  reason: line,
  endsWithinMs: integer,
};

/** Notice by `<message/>`: may be lost; the pull is the truth. */
export const leaseNoticeSchema = z.object({ states: z.array(leaseStateSchema).min(1).max(50) });
export type LeaseNotice = z.output<typeof leaseNoticeSchema>;
export const leaseNoticeMessage = defineMessage({
  name: "states",
  namespace: NS_BURST,
  schema: leaseNoticeSchema,
  fields: { states: nestedList("state", leaseStateFields) },
});

/** IQ get: states of this borrower's exchanges that changed after `since`, oldest change first, a page at a time. */
export const pullSchema = z.object({ since: z.int().min(0), max: z.int().min(1).max(50) });
export type Pull = z.output<typeof pullSchema>;
export const pullMessage = defineMessage({
  name: "pull",
  namespace: NS_BURST,
  schema: pullSchema,
  fields: { since: integer, max: integer },
});

export const pulledSchema = z.object({
  states: z.array(leaseStateSchema).max(50),
  complete: z.boolean(),
});
export type Pulled = z.output<typeof pulledSchema>;
export const pulledMessage = defineMessage({
  name: "pulled",
  namespace: NS_BURST,
  schema: pulledSchema,
  fields: { states: nestedList("state", leaseStateFields), complete: flag },
});
