/** Networks of a site as the HTTP API and the command line show them. */
import { z } from "zod";
import { attachmentSchema, vlanTagSchema } from "../host/guest.ts";
import { macSchema, networkNameSchema } from "../ids.ts";
import { grantedProjectsSchema } from "./image.ts";

const address = z.ipv4("must be an IPv4 address like 10.77.0.1");

/** How the guests of a network learn their addresses. */
export const addressingSchema = z.enum(["static", "dhcp", "none"]);

/** Body of `POST /v1/networks`. What is left out follows from the rest. */
export const networkCreateSchema = z.strictObject({
  name: networkNameSchema,
  attachment: attachmentSchema,
  /** Its subnet: addresses are reserved from it. Needed with `static`; without one nothing is reserved. */
  cidr: z.cidrv4("must be an IPv4 subnet like 10.77.0.0/24").optional(),
  /** Absent: the first address of the subnet; `none`: there is none. */
  gateway: z.union([z.literal("none"), address], "must be an IPv4 address or none").optional(),
  nameservers: z.array(address).min(1).max(3).optional(),
  /** First and last address given to VMs; absent: all of the subnet but the gateway. */
  pool: z.strictObject({ first: address, last: address }).optional(),
  /** VXLAN network identifier; absent: the lowest free one of the site's range. */
  vni: z.int().min(1).max(16_777_215).optional(),
  /** VLAN tag of a `vlan` network: one that the trunks of its hosts carry. */
  vlan: vlanTagSchema.optional(),
  /** `nat`: the hosts of a `vxlan` network lead its guests outside, behind their own addresses; absent: nothing does. */
  outside: z.enum(["nat"]).optional(),
  mtu: z.int().min(576).max(9_216).optional(),
  /** Absent: `dhcp` on a network that the host manager runs (`nat`, `user`), else `static` with a subnet and `none` without. */
  addressing: addressingSchema.optional(),
  /** Its guests may come to run at a peer, over a tunnel in a tunnel: they get the small MTU from the start. */
  burstable: z.boolean().default(false),
  projects: grantedProjectsSchema.default("*"),
  /** VMs that name no network get one interface here, and so do VMs of peers. */
  default: z.boolean().default(false),
});
export type NetworkCreate = z.output<typeof networkCreateSchema>;
export type NetworkCreateInput = z.input<typeof networkCreateSchema>;

export const networkViewSchema = z.object({
  name: networkNameSchema,
  attachment: attachmentSchema,
  cidr: z.string().optional(),
  gateway: z.string().optional(),
  nameservers: z.array(z.string()).optional(),
  pool: z.object({ first: z.string(), last: z.string() }).optional(),
  vni: z.int().optional(),
  vlan: z.int().optional(),
  outside: z.enum(["nat"]).optional(),
  mtu: z.int(),
  addressing: addressingSchema,
  burstable: z.boolean(),
  projects: grantedProjectsSchema,
  default: z.boolean(),
  /** Addresses of the pool: all, reserved for VMs, and not given out again for a while. */
  addresses: z.object({ total: z.int(), reserved: z.int(), cooling: z.int() }),
  /** VMs that are not over and have an interface on it. */
  vms: z.int(),
  createdAt: z.iso.datetime(),
});
export type NetworkView = z.output<typeof networkViewSchema>;

/** An interface of a VM as reserved for it before it boots. */
export const nicViewSchema = z.object({
  network: networkNameSchema,
  mac: macSchema,
  /** Absent where the network reserves none, or has none left. */
  address: z.string().optional(),
});
export type NicView = z.output<typeof nicViewSchema>;
