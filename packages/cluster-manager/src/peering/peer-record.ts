/** A peering made by invitation, as the store holds it under `peer/<domain>`, and the site's own key under `site-key/`. */
import type { LenderPolicy } from "@muster/broker";
import {
  acceptSchema,
  keySequenceSchema,
  lenderRulesShape,
  saidStateSchema,
  sitePublicKeySchema,
} from "@muster/protocol";
import { z } from "zod";
import { reachSchema } from "./reach.ts";

const lenderPolicySchema: z.ZodType<LenderPolicy> = z.looseObject({
  accept: z.boolean(),
  share: z.number(),
  leaseMsMax: z.number(),
  vmsMax: z.number(),
  images: z.array(z.string()),
  ...lenderRulesShape,
});

const pinnedKeySchema = z.object({ publicKey: sitePublicKeySchema, sequence: keySequenceSchema });
export type PinnedKey = z.output<typeof pinnedKeySchema>;

/** How the peering came about. Of the secret of an invitation the store has the public half only. */
const originSchema = z.discriminatedUnion("role", [
  z.object({
    role: z.literal("inviter"),
    id: z.string(),
    proofKey: z.string(),
    expiresAtMs: z.number(),
    /** SHA-256 of what accepted it: the same again is the same, anything else is refused (B1). */
    digest: z.string().optional(),
  }),
  z.object({
    role: z.literal("acceptor"),
    id: z.string(),
    expiresAtMs: z.number(),
    /** What is said until it is answered. */
    accept: acceptSchema,
  }),
]);

export const peerRecordSchema = z.object({
  domain: z.string().min(1),
  state: z.enum(["invited", "active", "suspended", "draining", "left"]),
  reason: z.string().optional(),
  sinceMs: z.number(),
  /** What we lend. */
  lend: lenderPolicySchema,
  /** What the partner lends us, as it said. */
  agreed: lenderPolicySchema.optional(),
  /** Whether our requests may burst there. */
  borrow: z.boolean(),
  /** The partner's key; absent while our invitation waits. */
  key: pinnedKeySchema.optional(),
  /** The partner's key before, and until when what it signed is accepted. */
  earlierKey: z.object({ publicKey: sitePublicKeySchema, untilMs: z.number() }).optional(),
  /** The key of ours that the partner has pinned. */
  ours: pinnedKeySchema,
  origin: originSchema,
  /** Absent where the sites speak from server to server. */
  reach: reachSchema.optional(),
  /** How the partner holds the peering, as it last said. */
  partner: z.object({ state: saidStateSchema, reason: z.string().optional(), sequence: z.int() }).optional(),
  /** What we said last of our side, and whether the partner confirmed it; not said any more after `giveUpAtMs`. */
  said: z.object({ sequence: z.int(), told: z.boolean(), giveUpAtMs: z.number() }).optional(),
  /** After the partner left: it may still ask until then whether we heard. */
  lingerUntilMs: z.number().optional(),
});
export type PeerRecord = z.output<typeof peerRecordSchema>;

/** The key by which the site signs now, and the one before. */
export const siteKeyRecordSchema = z.object({
  publicKey: sitePublicKeySchema,
  sequence: keySequenceSchema,
  overlapMs: z.number(),
  sinceMs: z.number(),
});
export type SiteKeyRecord = z.output<typeof siteKeyRecordSchema>;

export const SITE_KEY = "site-key/current";
