/**
 * `offer`: what a lender would grant now, coarse, asked by IQ get before a hold and as the peer's heartbeat. Promises
 * nothing: only a hold does. Namespace urn:muster:burst:1, version 1.
 */
import { z } from "zod";
import { imageReferenceSchema, termSchema } from "../ids.ts";
import { unitPricesFields, unitPricesSchema } from "../ledger/prices.ts";
import { NS_BURST } from "../namespaces.ts";
import { resourcesSchema } from "../resources.ts";
import { flag, integer, line, nested, text, texts } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { resourceFields } from "../xml/spec-fields.ts";

export const offerQuerySchema = z.object({ term: termSchema });
export type OfferQuery = z.output<typeof offerQuerySchema>;
export const offerQueryMessage = defineMessage({
  name: "offer-query",
  namespace: NS_BURST,
  schema: offerQuerySchema,
  fields: { term: integer },
});

export const offerSchema = z.object({
  accepting: z.boolean(),
  /** Why not, or what is planned. */
  reason: z.string().max(500).optional(),
  /** Free for this borrower: its share of the site less what it holds and leases. */
  free: resourcesSchema,
  /** The largest single VM that fits a host now. */
  largest: resourcesSchema,
  leaseMsMax: z.int().min(0),
  images: z.array(imageReferenceSchema).max(100),
  /** Highest revision of this borrower's exchanges: tells whether a pull is due. */
  revision: z.int().min(0),
  agent: z.string().max(64),
  /** What it asks for, where it asks for anything. */
  prices: unitPricesSchema.optional(),
  /** Whether VMs may be on their home network there, by a tunnel; absent: they may not. */
  tunnels: z.boolean().optional(),
  /** Whether images that are not here may be fetched from the borrower, as the policy allows; absent: they are not. */
  fetchesImages: z.boolean().optional(),
});
export type Offer = z.output<typeof offerSchema>;
export const offerMessage = defineMessage({
  name: "offer",
  namespace: NS_BURST,
  schema: offerSchema,
  fields: {
    accepting: flag,
    reason: line,
    free: nested(resourceFields),
    largest: nested(resourceFields),
    leaseMsMax: integer,
    images: texts("image"),
    revision: integer,
    agent: text,
    prices: nested(unitPricesFields),
    tunnels: flag,
    fetchesImages: flag,
  },
});
