/**
 * `guest`: what a host needs to make a real machine of a VM: where its image comes from and how its interfaces are wired.
 * Decided by the leader when the VM gets its place, carried by the `start` order; libvirt's test driver needs none of it.
 */
import { z } from "zod";
import { imageDigestSchema, macSchema, networkNameSchema } from "../ids.ts";
import { type Fields, flag, integer, nested, nestedList, text, texts, textsIfAny } from "../xml/field.ts";
import { nicTunnelFields, nicTunnelSchema } from "./tunnel-end.ts";

/** Most places from which one image may be fetched. */
export const IMAGE_URLS_MAX = 8;

const addressSchema = z.union([z.ipv4(), z.ipv6()], "must be an IP address");
const cidrSchema = z.union([z.cidrv4(), z.cidrv6()], "must be an address with its prefix length, like 10.77.0.5/24");

export const imageUrlSchema = z.url({ protocol: /^https?$/ }).max(1_000);

/** The image of a disk. The digest is of the bytes as fetched; the host verifies them while they stream in. */
export const guestImageSchema = z.object({
  digest: imageDigestSchema,
  format: z.enum(["qcow2", "raw"]),
  /** Size of the file. */
  bytes: z
    .int()
    .min(1)
    .max(16 * 2 ** 40),
  /** Size of the disk in it. */
  virtualMiB: z
    .int()
    .min(1)
    .max(16 * 1024 * 1024),
  /** Where it may be fetched, best first; a URL may carry a short-lived ticket and is never logged (S3). */
  urls: z.array(imageUrlSchema).max(IMAGE_URLS_MAX),
  /** Somebody else names these addresses: it is fetched from there and from nowhere that they redirect to. */
  direct: z.literal(true).optional(),
});
export type GuestImage = z.output<typeof guestImageSchema>;

/**
 * How an interface is attached:
 * - `bridge`: to a bridge that the host's admin made, by the name that `host.yaml` gives to it;
 * - `vxlan`: to a bridge that the host manager makes, joined to the same network on other hosts by VXLAN (RFC 7348);
 * - `vlan`: to a trunk that the host's admin made, under the network's tag (IEEE 802.1Q), by Open vSwitch or a Linux bridge;
 * - `nat`: to a libvirt network of the host behind its address;
 * - `user`: to QEMU's user networking, where there are no network rights; ssh comes in by a forwarded port.
 */
export const attachmentSchema = z.enum(["bridge", "vxlan", "vlan", "nat", "user"]);
export type Attachment = z.output<typeof attachmentSchema>;

/** VLAN identifier; 0 and 4095 are reserved (IEEE 802.1Q section 9.6). */
export const vlanTagSchema = z.int().min(1).max(4_094);

export const guestNicSchema = z.object({
  network: networkNameSchema,
  attachment: attachmentSchema,
  mac: macSchema,
  mtu: z.int().min(576).max(9_216),
  /** How the guest learns its address: from the seed, from a DHCP server of the host, or from somebody else's. */
  addressing: z.enum(["static", "dhcp", "none"]),
  /** Reserved for this VM before it boots. */
  address: cidrSchema.optional(),
  gateway: addressSchema.optional(),
  nameservers: z.array(addressSchema).min(1).max(3).optional(),
  /** VXLAN network identifier of a `vxlan` network. */
  vni: z.int().min(1).max(16_777_215).optional(),
  /** Tag of a `vlan` network. */
  vlan: vlanTagSchema.optional(),
  /** `nat`: its host gives it the route outside of a `vxlan` network, at the gateway's address and behind its own. */
  outside: z.enum(["nat"]).optional(),
  /** The interface is on its home network, at another site: this is all that it is attached to here. */
  tunnel: nicTunnelSchema.optional(),
});
export type GuestNic = z.output<typeof guestNicSchema>;

export const guestSchema = z.object({ image: guestImageSchema, nics: z.array(guestNicSchema).max(4) });
export type Guest = z.output<typeof guestSchema>;

/** What an image is and where it may be fetched. */
export const imageContentFields: Fields<Omit<GuestImage, "direct">> = {
  digest: text,
  format: text,
  bytes: integer,
  virtualMiB: integer,
  urls: texts("url"),
};

const imageFields: Fields<GuestImage> = { ...imageContentFields, direct: flag };

export const guestNicFields: Fields<GuestNic> = {
  network: text,
  attachment: text,
  mac: text,
  mtu: integer,
  addressing: text,
  address: text,
  gateway: text,
  nameservers: textsIfAny("nameserver"),
  vni: integer,
  vlan: integer,
  outside: text,
  tunnel: nested(nicTunnelFields),
};

export const guestFields: Fields<Guest> = { image: nested(imageFields), nics: nestedList("nic", guestNicFields) };
