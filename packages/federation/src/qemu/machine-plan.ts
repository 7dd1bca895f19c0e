import { createHash } from "node:crypto";
import type { FederationPlan, HostPlan, SitePlan } from "../plan/federation-plan.ts";

/** A host as a machine of its own: a network namespace with a cable to each of its site's two networks. */
export type HostMachinePlan = {
  readonly namespace: string;
  /** This machine's ends of its cables. */
  readonly lanCable: string;
  readonly underlayCable: string;
  /** Its address in the network between the hosts of its site, over which tunnels run. */
  readonly underlayAddress: string;
  /** Its address in the guests' network: ports of it lead to guests that are behind it. */
  readonly lanAddress: string;
  /** What its libvirt takes for the machine's identity: two hosts with the same one refuse to migrate. */
  readonly uuid: string;
};

/** What the hosts of a site are cabled to, on this machine. */
export type SiteMachinePlan = {
  readonly name: string;
  /** Bridge of the network that guests are on; this machine has the first address in it, and reaches them there. */
  readonly lanBridge: string;
  readonly lanSubnet: string;
  readonly lanAddress: string;
  /** Addresses in it that guests may have; those of hosts are beyond. */
  readonly lanPool: { readonly first: string; readonly last: string };
  readonly underlayBridge: string;
  readonly hosts: ReadonlyMap<string, HostMachinePlan>;
};

export type MachinePlan = {
  /** What the names of all interfaces and namespaces of the federation begin with, and nobody else's do. */
  readonly tag: string;
  readonly sites: ReadonlyMap<string, SiteMachinePlan>;
};

/** The bridge that each host has in its namespace for the site's network `lan`. */
export const HOST_BRIDGE = "br-lan";
export const LAN = "lan";
/** Last part of the first host's address in the guests' network: beyond it are 50 more. */
const HOSTS_FROM = 200;

/** Names and addresses for a federation whose hosts are namespaces; they follow from the state folder and `--loopback`. */
export function planMachines(plan: FederationPlan, stateRoot: string): MachinePlan {
  const tag = `mu${digest(stateRoot).slice(0, 5)}`;
  const sites = plan.sites.map((site, index) => [site.name, siteMachine(tag, site, index, stateRoot)] as const);
  return { tag, sites: new Map(sites) };
}

function siteMachine(tag: string, site: SitePlan, index: number, stateRoot: string): SiteMachinePlan {
  // The site's own number among the loopback addresses tells its networks apart from those of other federations, too.
  const number = site.address.split(".")[2] ?? "0";
  const address = (order: number): string => `10.254.${number}.${10 + order}`;
  const hostMachine = (host: HostPlan, order: number): HostMachinePlan => ({
    namespace: `${tag}-${site.name}-${host.name}`,
    lanCable: `${tag}l${index}h${order + 1}`,
    underlayCable: `${tag}u${index}h${order + 1}`,
    underlayAddress: address(order),
    lanAddress: `10.253.${number}.${HOSTS_FROM + order}`,
    uuid: uuidOf(`${stateRoot} ${site.name} ${host.name}`),
  });
  return {
    name: site.name,
    lanBridge: `${tag}l${index}`,
    lanSubnet: `10.253.${number}.0/24`,
    lanAddress: `10.253.${number}.1`,
    lanPool: { first: `10.253.${number}.2`, last: `10.253.${number}.${HOSTS_FROM - 1}` },
    underlayBridge: `${tag}u${index}`,
    hosts: new Map(site.hosts.map((host, order) => [host.name, hostMachine(host, order)])),
  };
}

/** A UUID of version 8 (RFC 9562 §5.8) that is the same at each start. */
function uuidOf(text: string): string {
  const hex = digest(text);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
