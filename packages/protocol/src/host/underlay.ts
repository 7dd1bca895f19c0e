/**
 * `underlay`: where the tunnels of the site's hosts end. Each host says its own address in its capacity; the leader tells all
 * of them to every host, in `hello` and by IQ set when they change. Fenced by term (H1); within a term the higher generation
 * counts. Namespace urn:muster:underlay:1, version 1.
 */
import { z } from "zod";
import { hostNameSchema, termSchema } from "../ids.ts";
import { NS_UNDERLAY } from "../namespaces.ts";
import { type Fields, integer, nestedList, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";

/** Most hosts of one list: keeps it in one stanza. Larger sites have their hosts find each other in a multicast group. */
export const UNDERLAY_PEERS_MAX = 256;

export const underlayEndSchema = z.object({
  address: z.union([z.ipv4(), z.ipv6()], "must be an IP address"),
  /** UDP port of VXLAN (RFC 7348). */
  port: z.int().min(1).max(65_535),
});
/** Where tunnels to a host end. */
export type UnderlayEnd = z.output<typeof underlayEndSchema>;

export const underlayPeerSchema = underlayEndSchema.extend({ host: hostNameSchema });
export type UnderlayPeer = z.output<typeof underlayPeerSchema>;

export const underlayListSchema = z.object({
  /** Counts the lists of one leader: what comes late with a lower one is over. */
  generation: z.int().min(1),
  /** All hosts of the site that have an end, the receiver's own included. */
  peers: z.array(underlayPeerSchema).max(UNDERLAY_PEERS_MAX),
});
export type UnderlayList = z.output<typeof underlayListSchema>;

export const underlayEndFields: Fields<UnderlayEnd> = { address: text, port: integer };
export const underlayListFields: Fields<UnderlayList> = {
  generation: integer,
  peers: nestedList("peer", { host: text, ...underlayEndFields }),
};

export const underlaySchema = underlayListSchema.extend({ term: termSchema });
export type Underlay = z.output<typeof underlaySchema>;
export const underlayMessage = defineMessage({
  name: "underlay",
  namespace: NS_UNDERLAY,
  schema: underlaySchema,
  fields: { term: integer, ...underlayListFields },
});

/** The host's answer: the list that it goes by now. */
export const underlayTakenSchema = z.object({ term: termSchema, generation: z.int().min(1) });
export type UnderlayTaken = z.output<typeof underlayTakenSchema>;
export const underlayTakenMessage = defineMessage({
  name: "taken",
  namespace: NS_UNDERLAY,
  schema: underlayTakenSchema,
  fields: { term: integer, generation: integer },
});
