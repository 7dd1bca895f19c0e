import { err, ok, type Result } from "@muster/base";

/** What `muster up` was asked for. */
export type FederationWish = {
  readonly sites: number;
  readonly hostsPerSite: number;
  /** First number of the sites' addresses: site i listens on `127.0.<loopback + i>.1`, so that federations can stand side by side. */
  readonly loopback: number;
  /** What drives the VMs of every host. */
  readonly hypervisor: "libvirt" | "simulated";
  readonly hostVcpus: number;
  readonly hostMemoryMiB: number;
  readonly hostDiskGiB: number;
  readonly heartbeatMs: number;
};

export const DEFAULT_WISH: FederationWish = {
  sites: 2,
  hostsPerSite: 3,
  loopback: 11,
  hypervisor: "libvirt",
  hostVcpus: 8,
  hostMemoryMiB: 16_384,
  hostDiskGiB: 200,
  heartbeatMs: 1_000,
};

export type HostPlan = { readonly name: string; readonly zone: string };

/** One site on one address of its own, everything on its registered port. */
export type SitePlan = {
  readonly name: string;
  readonly domain: string;
  readonly address: string;
  readonly apiPort: number;
  readonly manager: string;
  readonly hostVcpus: number;
  readonly hosts: readonly HostPlan[];
};

export type FederationPlan = { readonly wish: FederationWish; readonly sites: readonly SitePlan[] };

const SITE_NAMES = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"] as const;
const API_PORT = 8080;

/** Most hosts of one site on one machine: each takes a Node.js process and a libvirtd. */
export const HOSTS_MAX = 50;
export const SITES_MAX = SITE_NAMES.length;

/** Lays the federation out; the message names the option at fault. */
export function planFederation(wish: FederationWish): Result<FederationPlan, string> {
  if (!isWithin(wish.sites, 1, SITES_MAX)) return err(`--sites must be 1 to ${SITES_MAX}`);
  if (!isWithin(wish.hostsPerSite, 1, HOSTS_MAX)) return err(`--hosts must be 1 to ${HOSTS_MAX}`);
  if (!isWithin(wish.loopback, 1, 254 - wish.sites)) return err(`--loopback must be 1 to ${254 - wish.sites}`);
  const sites = SITE_NAMES.slice(0, wish.sites).map((name, index) => ({
    name,
    domain: `${name}.test`,
    address: `127.0.${wish.loopback + index}.1`,
    apiPort: API_PORT,
    manager: "a",
    hostVcpus: wish.hostVcpus,
    hosts: Array.from({ length: wish.hostsPerSite }, (_, host) => ({
      name: `host${host + 1}`,
      zone: host % 2 === 0 ? "east" : "west",
    })),
  }));
  return ok({ wish, sites });
}

export function apiUrl(site: SitePlan): string {
  return `http://${site.address}:${site.apiPort}`;
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
