import { BRIDGES_MAX, networkNameSchema } from "@muster/protocol";
import { z } from "zod";

/** Name of a network interface (Linux: at most 15 bytes, no slash, no space). */
const interfaceSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/, "must be the name of a network interface, at most 15 characters");

const multicastSchema = z
  .ipv4("must be an IPv4 address")
  .refine((address) => /^(22[4-9]|23\d)\./.test(address), "must be a multicast address, 224.0.0.0 to 239.255.255.255");

/** How tunnels between the hosts of a site run: over which address of this host, and to whom. */
const underlaySchema = z
  .strictObject({
    /** This host's own address in the network between the hosts. */
    address: z.union([z.ipv4(), z.ipv6()], "must be an IP address"),
    /** Addresses of the other hosts, where they are known beforehand; */
    peers: z
      .array(z.union([z.ipv4(), z.ipv6()], "must be an IP address"))
      .max(1_024)
      .optional(),
    /** or a multicast group in which the hosts find each other. */
    group: multicastSchema.optional(),
    /** UDP port of VXLAN (RFC 7348). */
    port: z.int().min(1).max(65_535).default(4_789),
  })
  .refine(
    ({ peers, group }) => peers === undefined || group === undefined,
    "give peers (addresses of the other hosts) or group (a multicast address), not both; without, the leader tells the hosts of each other",
  );

/** The trunk through which this host's guests reach VLANs: made by the admin, with the uplink in it. */
const vlanSchema = z.strictObject({
  /** A bridge of Open vSwitch, or a Linux bridge with `vlan_filtering`. */
  bridge: interfaceSchema,
  /** Largest packet that the trunk and what it leads to carry. */
  mtu: z.int().min(576).max(9_216).default(1_500),
  /** Where Open vSwitch's database is reached, where it is not at its usual place; libvirt asks at the usual one. */
  database: z
    .string()
    .regex(/^(unix|tcp|ssl):.{1,200}$/, "must be a database of ovs-vsctl(8), such as unix:/run/openvswitch/db.sock")
    .optional(),
});

/** `20000-20999`. */
const portsSchema = z
  .string()
  .regex(/^\d{4,5}-\d{4,5}$/, "must be a range of ports such as 20000-20999")
  .transform((text) => {
    const [firstPort = 0, lastPort = 0] = text.split("-").map(Number);
    return { firstPort, lastPort };
  })
  .refine(
    ({ firstPort, lastPort }) => 1_024 <= firstPort && firstPort <= lastPort && lastPort <= 65_535,
    "must lie within 1024 to 65535, the lower port first",
  );

/** `networks` of `host.yaml`: what the admin has laid out for guests. All of it may be absent. */
export const networksConfigSchema = z.strictObject({
  /** Network namespace that guests' interfaces live in (ip-netns(8)), where libvirt runs in another than the host manager. */
  namespace: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, "must be the name of a network namespace")
    .optional(),
  /** Bridges that the admin made, by the name of the site's network that they are: `lan: br-lan`. */
  bridges: z
    .record(networkNameSchema, interfaceSchema)
    .refine((bridges) => Object.keys(bridges).length <= BRIDGES_MAX, `a host has at most ${BRIDGES_MAX} of them`)
    .default({}),
  /** Absent: this host cannot take VMs on VXLAN networks, unless `migration.address` says where the other hosts reach it. */
  underlay: underlaySchema.optional(),
  /** Absent: this host cannot take VMs on VLANs. */
  vlan: vlanSchema.optional(),
  /** Ports of this host that lead to the ssh of guests behind its address; absent: no such guest is reached from outside. */
  access: z.strictObject({ address: z.ipv4("must be an IPv4 address of this host"), ports: portsSchema }).optional(),
  /** Where ssh of guests with QEMU's user networking is forwarded from. */
  user: z
    .strictObject({
      address: z.ipv4("must be an IPv4 address").default("127.0.0.1"),
      firstPort: z.int().min(1_024).max(65_535).default(22_000),
      lastPort: z.int().min(1_024).max(65_535).default(22_999),
    })
    .refine(({ firstPort, lastPort }) => firstPort <= lastPort, "firstPort must not be above lastPort")
    .prefault({}),
});
export type NetworksConfig = z.output<typeof networksConfigSchema>;
export type NetworksConfigInput = z.input<typeof networksConfigSchema>;
