/** A network of the site as the store holds it, under `network/<name>`. */
import { type Attachment, attachmentSchema, type GrantedProjects, grantedProjectsSchema } from "@muster/protocol";
import { z } from "zod";

export type NetworkRecord = {
  readonly name: string;
  readonly attachment: Attachment;
  /** `10.77.0.0/24`. */
  readonly cidr?: string | undefined;
  readonly gateway?: string | undefined;
  readonly nameservers?: readonly string[] | undefined;
  /** Addresses that are reserved for VMs, the gateway's left out. */
  readonly pool?: { readonly first: string; readonly last: string } | undefined;
  readonly vni?: number | undefined;
  readonly vlan?: number | undefined;
  /** Absent: its hosts lead nothing outside. */
  readonly outside?: "nat" | undefined;
  readonly mtu: number;
  readonly addressing: "static" | "dhcp" | "none";
  readonly burstable: boolean;
  readonly projects: GrantedProjects;
  readonly isDefault: boolean;
  readonly user: string;
  readonly createdAtMs: number;
};

export const networkRecordSchema = z.object({
  name: z.string().min(1),
  attachment: attachmentSchema,
  cidr: z.cidrv4().optional(),
  gateway: z.ipv4().optional(),
  nameservers: z.array(z.string()).optional(),
  pool: z.object({ first: z.ipv4(), last: z.ipv4() }).optional(),
  vni: z.int().optional(),
  vlan: z.int().optional(),
  outside: z.enum(["nat"]).optional(),
  mtu: z.int(),
  addressing: z.enum(["static", "dhcp", "none"]),
  burstable: z.boolean(),
  projects: grantedProjectsSchema,
  isDefault: z.boolean(),
  user: z.string(),
  createdAtMs: z.number(),
}) satisfies z.ZodType<NetworkRecord>;

/** An interface reserved for a VM: part of its record, so that it is stored and released with it. */
export type NicRecord = {
  readonly network: string;
  readonly mac: string;
  /** Absent where the network has no pool, or had no address left: the VM waits for one then. */
  readonly address?: string | undefined;
};

export const nicRecordSchema = z.object({
  network: z.string(),
  mac: z.string(),
  address: z.ipv4().optional(),
}) satisfies z.ZodType<NicRecord>;
