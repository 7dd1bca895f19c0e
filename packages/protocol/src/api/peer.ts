/** Peers and peerings as the HTTP API and the command line show and take them. */
import { z } from "zod";
import { LEASE_MS_MAX } from "../burst/hold.ts";
import { sitePresenceSchema } from "../burst/site-presence.ts";
import { imageReferenceSchema, lineSchema, siteDomainSchema, uuidSchema } from "../ids.ts";
import { invitationSecretSchema } from "../peering/invitation.ts";
import { saidStateSchema } from "../peering/peer-state.ts";
import { keySequenceSchema } from "../peering/site-key.ts";
import { KEY_OVERLAP_MS_MAX } from "../peering/succession.ts";
import { TERMS_IMAGES_MAX } from "../peering/terms.ts";
import { resourcesSchema } from "../resources.ts";
import { lenderRulesChangeShape, lenderRulesShape } from "./peer-policy.ts";

/** What one side lends the other. */
export const peerPolicySchema = z.object({
  accept: z.boolean(),
  /** Share of the site that may be held and leased at once, 0 to 1. */
  share: z.number(),
  leaseMsMax: z.int(),
  vmsMax: z.int(),
  /** Images granted; none named means all. */
  images: z.array(z.string()).default([]),
  ...lenderRulesShape,
});
export type PeerPolicyView = z.output<typeof peerPolicySchema>;

const keyViewSchema = z.object({ fingerprint: z.string(), sequence: z.int() });

/** How the peer has behaved towards us. */
export const conductViewSchema = z.object({
  /** 0 to 1: how far its leases came to run; it ranks the peer. */
  reliability: z.number(),
  kept: z.int(),
  broken: z.int(),
  /** Counts by kind: `signature`, `malformed`, `flood`, `receipt`. */
  offences: z.record(z.string(), z.int()),
  lastOffence: z.object({ kind: z.string(), message: z.string(), at: z.iso.datetime() }).optional(),
});
export type ConductView = z.output<typeof conductViewSchema>;

export const peerViewSchema = z.object({
  domain: z.string(),
  /** `unreachable` and `unknown` tell an active peering whose peer does not answer, or was not asked yet. */
  state: z.enum(["active", "unreachable", "unknown", "invited", "suspended", "draining", "left"]),
  /** Why it is in this state, where somebody said so. */
  reason: z.string().optional(),
  /** `config`: by the manager's configuration; `stored`: by invitation. */
  source: z.enum(["config", "stored"]).default("config"),
  /** Of the key pinned for the peer; empty while an invitation waits. */
  keyFingerprint: z.string(),
  keySequence: z.int().optional(),
  /** Key before, accepted until then. */
  earlierKey: z.object({ fingerprint: z.string(), until: z.iso.datetime() }).optional(),
  /** The key of ours that the peer has pinned. */
  ourKey: keyViewSchema.optional(),
  /** How the peer holds the peering, as it last said. */
  partner: z.object({ state: saidStateSchema, reason: z.string().optional() }).optional(),
  /** Whether the peer has heard of our state. */
  told: z.boolean().default(true),
  /** What went wrong when the peer was last spoken to about the peering. */
  trouble: z.string().optional(),
  since: z.iso.datetime().optional(),
  invitation: z
    .object({ id: z.string(), role: z.enum(["inviter", "acceptor"]), expiresAt: z.iso.datetime() })
    .optional(),
  /** What the peer would grant us, as last heard. */
  offered: z.object({ accepting: z.boolean(), free: resourcesSchema, reason: z.string().optional() }).optional(),
  borrowedLeases: z.int(),
  lentLeases: z.int(),
  /** Whether our requests may burst there. */
  borrow: z.boolean().default(true),
  /** What we lend. */
  policy: peerPolicySchema,
  /** What the peer lends us, as it said at peering or since. */
  agreed: peerPolicySchema.optional(),
  lastHeardMs: z.number().optional(),
  /** What its presence shows, as last heard; absent where it shows none. */
  presence: sitePresenceSchema.optional(),
  /**
   * How the sites speak: absent from server to server; `account`: the peer logs in as this account; `client`: we do, there.
   */
  reach: z.object({ kind: z.enum(["account", "client"]), jid: z.string(), service: z.string().optional() }).optional(),
  /** Absent as long as nothing was noted. */
  conduct: conductViewSchema.optional(),
});
export type PeerView = z.output<typeof peerViewSchema>;

/** What an admin may set of what we lend. */
export const lendChangeSchema = z.strictObject({
  accept: z.boolean().optional(),
  share: z.number().min(0).max(1).optional(),
  leaseMsMax: z.int().min(1_000).max(LEASE_MS_MAX).optional(),
  vmsMax: z.int().min(0).max(100_000).optional(),
  images: z.array(imageReferenceSchema).max(TERMS_IMAGES_MAX).optional(),
  ...lenderRulesChangeShape,
});
export type LendChange = z.output<typeof lendChangeSchema>;

/** Longest life of an invitation: a week. */
export const INVITATION_MS_MAX = 7 * 24 * 3_600_000;

export const peerInviteSchema = z.strictObject({
  /** Id of the invitation and the secret of its token, chosen by the client: the same again is the same invitation (B1). */
  once: z.strictObject({ invitation: uuidSchema, secret: invitationSecretSchema }).optional(),
  domain: siteDomainSchema,
  lend: lendChangeSchema.default({}),
  borrow: z.boolean().default(true),
  /** `client`: the invited site comes as an account of our server, which is made for it; its own need not be reachable. */
  reach: z.enum(["server", "client"]).default("server"),
  expiresMs: z
    .int()
    .min(1_000)
    .max(INVITATION_MS_MAX)
    .default(24 * 3_600_000),
});
export type PeerInviteInput = z.input<typeof peerInviteSchema>;

/** The answer to an invitation: the token is shown once and not kept. */
export const invitationViewSchema = z.object({
  domain: z.string(),
  invitation: z.string(),
  token: z.string(),
  /** Of our key, for the two admins to compare. */
  fingerprint: z.string(),
  expiresAt: z.iso.datetime(),
  lend: peerPolicySchema,
  borrow: z.boolean(),
  /** The account of our server as which the invited site comes. */
  account: z.string().optional(),
});
export type InvitationView = z.output<typeof invitationViewSchema>;

export const peerAcceptSchema = z.strictObject({
  token: z.string().min(1).max(16_384),
  lend: lendChangeSchema.default({}),
  borrow: z.boolean().default(true),
});
export type PeerAcceptInput = z.input<typeof peerAcceptSchema>;

/** What is agreed to by accepting. */
export const acceptanceViewSchema = z.object({
  domain: z.string(),
  invitation: z.string(),
  fingerprint: z.string(),
  ourFingerprint: z.string(),
  expiresAt: z.iso.datetime(),
  /** What we would lend, and whether we would borrow. */
  lend: peerPolicySchema,
  borrow: z.boolean(),
  /** What the other side proposes to lend, and whether it means to borrow. */
  theirLend: peerPolicySchema,
  theirBorrow: z.boolean(),
  /** The account as which we would log in, and where: outbound only. */
  reach: z.object({ jid: z.string(), service: z.string() }).optional(),
});
export type AcceptanceView = z.output<typeof acceptanceViewSchema>;

export const PEER_VERBS = ["suspend", "resume", "drain", "leave"] as const;
export const peerVerbSchema = z.enum(PEER_VERBS);
export type PeerVerb = z.output<typeof peerVerbSchema>;
export const peerReasonSchema = z.strictObject({ reason: lineSchema.max(200).optional() });

export const peerPolicyChangeSchema = z.strictObject({
  lend: lendChangeSchema.default({}),
  borrow: z.boolean().optional(),
});
export type PeerPolicyChange = z.input<typeof peerPolicyChangeSchema>;

export const keyRotateSchema = z.strictObject({
  /** Number that the next key is to have: the same again changes nothing then. */
  sequence: keySequenceSchema.optional(),
  /** For how long peers are to accept what the key before signed. */
  overlapMs: z
    .int()
    .min(0)
    .max(KEY_OVERLAP_MS_MAX)
    .default(7 * 24 * 3_600_000),
});
export const siteKeyViewSchema = z.object({
  fingerprint: z.string(),
  sequence: z.int(),
  /** Peers by invitation that have not pinned it yet. */
  waitingFor: z.array(z.string()),
  /** Peers of the configuration: their admins have to be told by hand. */
  byHand: z.array(z.string()),
});
export type SiteKeyView = z.output<typeof siteKeyViewSchema>;
