/**
 * What the two hosts at the ends of a tunnel between sites tell each other through their sites: public keys, never private
 * ones, and where the one is reached that can be.
 */
import { z } from "zod";
import { macSchema, uuidSchema } from "../ids.ts";
import { type Fields, integer, nested, text, textsIfAny } from "../xml/field.ts";

const ipSchema = z.union([z.ipv4(), z.ipv6()], "must be an IP address");

/** Public key of an end (Curve25519), as WireGuard writes it: 32 bytes in base64. */
export const tunnelKeySchema = z.string().regex(/^[A-Za-z0-9+/]{43}=$/, "must be 32 bytes in base64");

/** Where the end is reached by UDP. Absent in an end that is not: that one initiates, and keeps the way open. */
export const tunnelEndpointSchema = z.object({ address: ipSchema, port: z.int().min(1).max(65_535) });
export type TunnelEndpoint = z.output<typeof tunnelEndpointSchema>;

export const tunnelEndSchema = z.object({ publicKey: tunnelKeySchema, endpoint: tunnelEndpointSchema.optional() });
export type TunnelEnd = z.output<typeof tunnelEndSchema>;

/** VXLAN identifier inside a tunnel (RFC 7348). */
export const tunnelVniSchema = z.int().min(1).max(16_777_215);

/** Smallest MTU that IPv4 hosts must cope with, and the largest that leaves room for the headers of a tunnel in 9,216 bytes. */
export const tunnelMtuSchema = z.int().min(576).max(9_086);

/** The one interface that a tunnel is for, as its home network has it. Nothing else is let through. */
export const tunnelNicSchema = z.object({
  mac: macSchema,
  addressing: z.enum(["static", "dhcp", "none"]),
  /** Reserved at home, with its prefix length. */
  address: z.cidrv4("must be an address with its prefix length, like 10.77.0.5/24").optional(),
  gateway: z.ipv4("must be an IPv4 address").optional(),
  nameservers: z.array(ipSchema).min(1).max(3).optional(),
});
export type TunnelNic = z.output<typeof tunnelNicSchema>;

/** The tunnel that an interface at a lender's host leads into. */
export const nicTunnelSchema = z.object({
  /** Id of the exchange: one tunnel a lease. */
  id: uuidSchema,
  vni: tunnelVniSchema,
  /** The end at the borrower's gateway host. */
  peer: tunnelEndSchema,
});
export type NicTunnel = z.output<typeof nicTunnelSchema>;

export const tunnelEndFields: Fields<TunnelEnd> = {
  publicKey: text,
  endpoint: nested<TunnelEndpoint>({ address: text, port: integer }),
};

export const tunnelNicFields: Fields<TunnelNic> = {
  mac: text,
  addressing: text,
  address: text,
  gateway: text,
  nameservers: textsIfAny("nameserver"),
};

export const nicTunnelFields: Fields<NicTunnel> = { id: text, vni: integer, peer: nested(tunnelEndFields) };
