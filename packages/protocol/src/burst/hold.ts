/**
 * `hold`: a borrower asks a lender to set capacity aside for one VM for a short time. IQ set between `cloud.` components.
 * Same id and digest, same answer; same id and other digest, conflict (B1). Namespace urn:muster:burst:1, version 1.
 */
import { z } from "zod";
import { guestImageSchema, imageContentFields, imageUrlSchema } from "../host/guest.ts";
import { digestSchema, termSchema, uuidSchema, vmIdSchema } from "../ids.ts";
import { unitPricesFields, unitPricesSchema } from "../ledger/prices.ts";
import { NS_BURST } from "../namespaces.ts";
import { vmSpecSchema } from "../vm-spec.ts";
import { flag, integer, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { specFields } from "../xml/spec-fields.ts";
import { tunnelReachSchema } from "./tunnel.ts";

/** Longest time for which capacity is set aside without a lease. */
export const HOLD_MS_MAX = 120_000;
/** Longest lease a protocol version 1 lender may grant at once. */
export const LEASE_MS_MAX = 7 * 24 * 3_600_000;

/** Most places where a lender may fetch one image. */
export const HOLD_IMAGE_URLS_MAX = 4;

/** An image that the lender has not, as the borrower's catalogue has it. */
export const holdImageSchema = guestImageSchema.omit({ direct: true }).extend({
  /** Where the borrower lets it be fetched, best first; one may carry a ticket that runs out, and none is logged (S3). */
  urls: z.array(imageUrlSchema).min(1).max(HOLD_IMAGE_URLS_MAX),
});
export type HoldImage = z.output<typeof holdImageSchema>;

/** What an image is, without where it may be fetched. */
export const imageContentSchema = holdImageSchema.omit({ urls: true });
export type ImageContent = z.output<typeof imageContentSchema>;

export const holdSchema = z.object({
  /** Made by the borrower; key of the exchange together with the borrower's domain. */
  id: uuidSchema,
  /** SHA-256 of the canonical content, see `burstDigest`. */
  digest: digestSchema,
  /** Term of the borrower's leader: a lender refuses one lower than it has seen from this borrower (L2). */
  term: termSchema,
  vm: vmIdSchema,
  name: z.string().min(1).max(63),
  /** Project at the borrower, and an opaque name of the user: no credential leaves a site. */
  project: z.string().min(1).max(63),
  owner: z.string().min(1).max(63),
  spec: vmSpecSchema,
  /** How long to hold, counted by each side from its own receipt (B4). */
  holdMs: z.int().min(1_000).max(HOLD_MS_MAX),
  /** Lease that would be asked for. */
  leaseMs: z.int().min(1_000).max(LEASE_MS_MAX),
  /** Sites that the request may still cross: 1 means the lender runs it itself (B7). */
  hops: z.int().min(1).max(1),
  /** The VM runs at home and is to come over alive: nothing is started, the steps of its move follow. */
  incoming: z.literal(true).optional(),
  /** The VM is to sit on its home network: the lease will carry a tunnel. */
  tunnel: tunnelReachSchema.optional(),
  /** Only for a lender that fetches images and does not offer this one; `spec.image` is its digest. */
  image: holdImageSchema.optional(),
});
export type Hold = z.output<typeof holdSchema>;
export const holdMessage = defineMessage({
  name: "hold",
  namespace: NS_BURST,
  schema: holdSchema,
  fields: {
    id: text,
    digest: text,
    term: integer,
    vm: text,
    name: text,
    project: text,
    owner: text,
    spec: nested(specFields),
    holdMs: integer,
    leaseMs: integer,
    hops: integer,
    incoming: flag,
    tunnel: text,
    image: nested(imageContentFields),
  },
});

export const heldSchema = z.object({
  id: uuidSchema,
  /** What is left of the hold, by the lender's clock. */
  remainingMs: z.int().min(0).max(HOLD_MS_MAX),
  /** The most that a lease may ask for. */
  leaseMsMax: z.int().min(1_000).max(LEASE_MS_MAX),
  /** What the lease will be charged by; absent: nothing. By leasing it the borrower accepts them. */
  prices: unitPricesSchema.optional(),
});
export type Held = z.output<typeof heldSchema>;
export const heldMessage = defineMessage({
  name: "held",
  namespace: NS_BURST,
  schema: heldSchema,
  fields: { id: text, remainingMs: integer, leaseMsMax: integer, prices: nested(unitPricesFields) },
});
