/**
 * `tunnel`: the leader orders an end of a tunnel between sites of a host: `open` makes it as described, or brings it in line
 * with the description, and answers with its public key; `close` removes it and everything that was made for it. IQ set;
 * fenced by term (H1); asked again, both have the same effect and answer (H2). Namespace urn:muster:tunnel:1, version 1.
 */
import { z } from "zod";
import { attemptSchema, lineSchema, termSchema, uuidSchema, vmIdSchema } from "../ids.ts";
import { NS_TUNNEL } from "../namespaces.ts";
import { type Fields, flag, integer, line, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { guestNicFields, guestNicSchema } from "./guest.ts";
import { tunnelEndFields, tunnelEndSchema, tunnelVniSchema } from "./tunnel-end.ts";

/** Longest time for which a gateway keeps its end without another word of its leader: the longest lease, twice. */
export const TUNNEL_KEEP_MS_MAX = 14 * 24 * 3_600_000;

export const tunnelOrderSchema = z
  .object({
    /** Id of the exchange. */
    id: uuidSchema,
    term: termSchema,
    action: z.enum(["open", "close"]),
    /** `gateway`: on the home network's bridge, at the borrower; `guest`: at the lender's host that runs the VM. */
    end: z.enum(["gateway", "guest"]),
    /** Rises with every place that the end is given; an attempt that was closed is never opened again (H5). */
    attempt: attemptSchema,
    vm: vmIdSchema,
    vni: tunnelVniSchema.optional(),
    /** With `open`: the VM's interface; at the gateway with the network that it is on at home. */
    nic: guestNicSchema.optional(),
    /** The other end, as soon as it is known. */
    peer: tunnelEndSchema.optional(),
    /** With `open` of a gateway: how long the end may stay without another `open` (B4). */
    keepMs: z.int().min(1_000).max(TUNNEL_KEEP_MS_MAX).optional(),
  })
  .superRefine((order, context) => {
    if (order.action === "close") return;
    for (const field of ["vni", "nic"] as const)
      if (order[field] === undefined)
        context.addIssue({ code: "custom", path: [field], message: `an open needs its ${field}` });
    if (order.end === "gateway" && order.keepMs === undefined)
      context.addIssue({ code: "custom", path: ["keepMs"], message: "a gateway's open says how long it is for" });
  });
export type TunnelOrder = z.output<typeof tunnelOrderSchema>;

export const tunnelMessage = defineMessage({
  name: "tunnel",
  namespace: NS_TUNNEL,
  schema: tunnelOrderSchema,
  fields: {
    id: text,
    term: integer,
    action: text,
    end: text,
    attempt: integer,
    vm: text,
    vni: integer,
    nic: nested(guestNicFields),
    peer: nested(tunnelEndFields),
    keepMs: integer,
  },
});

/** How the end stands now. */
export const tunnelStateSchema = z.object({
  id: uuidSchema,
  attempt: attemptSchema,
  stage: z.enum(["open", "closed"]),
  /** Of the host that answers; with `open`. */
  own: tunnelEndSchema.optional(),
  /** How long ago the two ends last heard each other; absent where they never did. */
  heardMs: z.int().min(0).optional(),
});
export type TunnelState = z.output<typeof tunnelStateSchema>;

export const tunnelStateMessage = defineMessage({
  name: "tunnelled",
  namespace: NS_TUNNEL,
  schema: tunnelStateSchema,
  fields: { id: text, attempt: integer, stage: text, own: nested(tunnelEndFields), heardMs: integer },
});

/** What a host can do about tunnels between sites, where its admin let it (`gateway` of host.yaml). */
export const tunnelAbilitySchema = z.object({
  ready: z.boolean(),
  /** Where the ends of this host are reached; absent where nobody outside reaches it. */
  address: z.union([z.ipv4(), z.ipv6()], "must be an IP address").optional(),
  /** Largest MTU of an interface behind a tunnel of this host. */
  mtu: z.int().min(0).max(65_535),
  /** What carries them, and what keeps strangers out; or why it is not ready. */
  says: lineSchema,
});
export type TunnelAbility = z.output<typeof tunnelAbilitySchema>;

export const tunnelAbilityFields: Fields<TunnelAbility> = { ready: flag, address: text, mtu: integer, says: line };
