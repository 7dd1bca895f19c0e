/**
 * The route outside for a tenant's network: every host that has a guest on it is its gateway, with the same address and MAC.
 * A guest's packets leave by the host it is on, so that there is no single host to fail or to be elected, and a moved guest
 * finds its gateway where it comes to.
 */
import { err, type Result } from "@muster/base";
import type { GuestNic } from "@muster/protocol";
import type { IpLink } from "./ip-link.ts";

/** What a host is for a network with a route outside. */
export type Gateway = {
  readonly network: string;
  /** Bridge of the network on this host. */
  readonly bridge: string;
  readonly address: string;
  /** The network's subnet by an address in it: `10.77.0.1/24`. */
  readonly cidr: string;
  readonly mac: string;
};

/** `undefined` where the interface's network has no route outside by its hosts. */
export function gatewayOf({ network, attachment, outside, gateway, address, vni }: GuestNic): Gateway | undefined {
  if (attachment !== "vxlan" || outside !== "nat" || vni === undefined) return undefined;
  if (gateway === undefined || address === undefined || gateway.includes(":")) return undefined;
  const cidr = `${gateway}/${address.split("/")[1] ?? "24"}`;
  return { network, bridge: `mb${vni}`, address: gateway, cidr, mac: gatewayMac(vni) };
}

/** The same on every host: locally administered, with the network's identifier in it. */
export function gatewayMac(vni: number): string {
  const hex = vni.toString(16).padStart(6, "0");
  return ["02", "4d", "75", hex.slice(0, 2), hex.slice(2, 4), hex.slice(4, 6)].join(":");
}

/** Gives the bridge the gateway's address. The fault says whose subnet it meets: a host has one table of routes. */
export async function ensureGateway(links: IpLink, gateway: Gateway, tunnel: string): Promise<Result<void, string>> {
  const { bridge, cidr, mac } = gateway;
  const here = await links.addresses();
  if (!here.ok) return here;
  const clash = here.value.find((other) => other.name !== bridge && overlap(other.cidr, cidr));
  if (clash !== undefined)
    return err(`no route outside for ${cidr}: ${clash.name} of this host has ${clash.cidr}, which overlaps with it`);
  const set = await links.run(["link", "set", bridge, "address", mac], ["addr", "replace", cidr, "dev", bridge]);
  // Guests' questions for the gateway are answered by their own host, and by it alone.
  return set.ok ? links.runBridge(["link", "set", "dev", tunnel, "neigh_suppress", "on"]) : set;
}

/** Whether two IPv4 subnets share an address. */
export function overlap(left: string, right: string): boolean {
  const [a, b] = [subnet(left), subnet(right)];
  const size = 2 ** (32 - Math.min(a.prefix, b.prefix));
  return Math.floor(a.address / size) === Math.floor(b.address / size);
}

/** Address and prefix length as the kernel, for iptables: `10.77.0.0/24` of `10.77.0.1/24`. */
export function subnetText(cidr: string): string {
  const { address, prefix } = subnet(cidr);
  const size = 2 ** (32 - prefix);
  const network = Math.floor(address / size) * size;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(network / 2 ** shift) % 256).join(".")}/${prefix}`;
}

function subnet(cidr: string): { readonly address: number; readonly prefix: number } {
  const [address = "", prefix = "32"] = cidr.split("/");
  return { address: address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0), prefix: Number(prefix) };
}
