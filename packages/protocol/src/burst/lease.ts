/**
 * `lease`, `renew`, `release`, `cancel`: the life of a burst after its hold. The lease carries the id of its hold: one
 * exchange, one id (B1). IQ set between `cloud.` components. Namespace urn:muster:burst:1, version 1.
 */
import { z } from "zod";
import { tunnelEndFields, tunnelEndSchema } from "../host/tunnel-end.ts";
import { lineSchema, termSchema, uuidSchema } from "../ids.ts";
import { NS_BURST } from "../namespaces.ts";
import { type Refusal, refusalSchema } from "../refusal.ts";
import { integer, line, nested, nestedList, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { LEASE_MS_MAX } from "./hold.ts";
import { leaseStateFields, leaseStateSchema } from "./lease-state.ts";
import { leaseTunnelFields, leaseTunnelSchema } from "./tunnel.ts";

/** Most leases renewed or reported in one stanza. */
export const LEASES_BATCH_MAX = 50;

const leaseMsSchema = z.int().min(1_000).max(LEASE_MS_MAX);

/** Turns the hold into the right to run. */
export const leaseSchema = z.object({
  id: uuidSchema,
  term: termSchema,
  leaseMs: leaseMsSchema,
  /** Where the hold said so. */
  tunnel: leaseTunnelSchema.optional(),
});
export type LeaseRequest = z.output<typeof leaseSchema>;
export const leaseMessage = defineMessage({
  name: "lease",
  namespace: NS_BURST,
  schema: leaseSchema,
  fields: { id: text, term: integer, leaseMs: integer, tunnel: nested(leaseTunnelFields) },
});

export const leasedSchema = z.object({ state: leaseStateSchema });
export type Leased = z.output<typeof leasedSchema>;
export const leasedMessage = defineMessage({
  name: "leased",
  namespace: NS_BURST,
  schema: leasedSchema,
  fields: { state: nested(leaseStateFields) },
});

const renewedLeaseWishSchema = z.object({
  id: uuidSchema,
  leaseMs: leaseMsSchema,
  wanted: z.enum(["running", "paused", "stopped"]),
  /** The borrower's end of the tunnel, where it is another one than before. */
  tunnel: tunnelEndSchema.optional(),
});

/** Extends leases by duration from now; also what wakes up or puts down their VMs (`wanted`). */
export const renewSchema = z.object({
  term: termSchema,
  leases: z.array(renewedLeaseWishSchema).min(1).max(LEASES_BATCH_MAX),
});
type RenewWish = z.output<typeof renewedLeaseWishSchema>;
export type Renew = z.output<typeof renewSchema>;
export const renewMessage = defineMessage({
  name: "renew",
  namespace: NS_BURST,
  schema: renewSchema,
  fields: {
    term: integer,
    leases: nestedList<RenewWish>("lease", {
      id: text,
      leaseMs: integer,
      wanted: text,
      tunnel: nested(tunnelEndFields),
    }),
  },
});

/** One answer a lease: its state, or why it was not renewed. */
const renewedLeaseSchema = z.object({
  id: uuidSchema,
  state: leaseStateSchema.optional(),
  refusal: refusalSchema.optional(),
});
export type RenewedLease = z.output<typeof renewedLeaseSchema>;
export const renewedSchema = z.object({ leases: z.array(renewedLeaseSchema).max(LEASES_BATCH_MAX) });
export type Renewed = z.output<typeof renewedSchema>;
export const renewedMessage = defineMessage({
  name: "renewed",
  namespace: NS_BURST,
  schema: renewedSchema,
  fields: {
    leases: nestedList<RenewedLease>("lease", {
      id: text,
      state: nested(leaseStateFields),
      refusal: nested<Refusal>({ kind: text, reason: text, message: line, field: text, retryAfterMs: integer }),
    }),
  },
});

/**
 * Ends the exchange, whatever stage it is in: drops a hold, ends a lease and removes its VM. Answered at once with the
 * state; legal before the hold arrives, and then leaves a tombstone (B3).
 */
export const releaseSchema = z.object({ id: uuidSchema, term: termSchema, reason: lineSchema });
export type Release = z.output<typeof releaseSchema>;
export const releaseMessage = defineMessage({
  name: "release",
  namespace: NS_BURST,
  schema: releaseSchema,
  fields: { id: text, term: integer, reason: line },
});

export const releasedSchema = z.object({ state: leaseStateSchema });
export type Released = z.output<typeof releasedSchema>;
export const releasedMessage = defineMessage({
  name: "released",
  namespace: NS_BURST,
  schema: releasedSchema,
  fields: { state: nested(leaseStateFields) },
});
