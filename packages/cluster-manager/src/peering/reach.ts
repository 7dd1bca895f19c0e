/**
 * How a peer is reached where that is not from server to server: one of the two sites comes as a client account. Identity
 * rests on the signature; the account is part of the peering, so that what comes from anywhere else is refused (B5).
 */
import type { Peering } from "@muster/broker";
import { accountAddressSchema, cloudAddress, domainOf, REACH_RESOURCE, siteOfCloud } from "@muster/protocol";
import { z } from "zod";

/** As the store holds it. */
export const reachSchema = z.discriminatedUnion("kind", [
  /** The peer logs in as this account, at our server or a third one. */
  z.object({ kind: z.literal("account"), jid: accountAddressSchema }),
  /** We log in as this account, at the peer's server or a third one, and open connections outward only. */
  z.object({
    kind: z.literal("client"),
    jid: accountAddressSchema,
    service: z.string(),
    /** Allows one registration; of no use afterwards. */
    token: z.string().optional(),
    caPem: z.string().optional(),
    /** By configuration, in the place of a password of our own making. */
    passwordFile: z.string().optional(),
    caFile: z.string().optional(),
  }),
]);
export type Reach = z.output<typeof reachSchema>;
export type ClientReach = Extract<Reach, { readonly kind: "client" }>;

/** A peering by configuration, with how the peer is reached. */
export type ConfiguredPeering = Peering & { readonly reach?: Reach | undefined };

/** Where the peer is spoken to. */
export function addressOf(domain: string, reach: Reach | undefined): string {
  return reach?.kind === "account" ? `${reach.jid}/${REACH_RESOURCE}` : cloudAddress(domain);
}

/** The domain that our server has to let in and carry words to; `undefined` where the peer is not behind another server. */
export function doorOf(domain: string, reach: Reach | undefined, own: string): string | undefined {
  if (reach === undefined) return cloudAddress(domain);
  if (reach.kind === "client") return undefined;
  const at = domainOf(reach.jid);
  return at === own ? undefined : at;
}

/** On which link something arrived: that of our `cloud.` component, or our login at this peer. */
export type Arrival = { readonly kind: "component" } | { readonly kind: "login"; readonly peer: string };

/** What is known of how peers come. */
export type ReachTable = {
  reachOf(domain: string): Reach | undefined;
  /** Whose account this is, prepared and bare. */
  ownerOf(jid: string): string | undefined;
};

/**
 * Which peer this prepared sender is, on this way; `undefined` for everybody else, also for a peer that comes another way
 * than was agreed.
 */
export function speakerOf(bare: string, arrival: Arrival, table: ReachTable): string | undefined {
  const cloud = bare.includes("@") ? undefined : siteOfCloud(bare);
  if (arrival.kind === "login") return cloud === arrival.peer ? cloud : undefined;
  if (cloud !== undefined) return table.reachOf(cloud) === undefined ? cloud : undefined;
  return table.ownerOf(bare);
}
