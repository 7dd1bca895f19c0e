import { err, ok, type Result } from "@muster/base";

/** What runs the VMs: libvirt's test driver, real guests on QEMU, or the host managers' own simulation. */
export const HYPERVISORS = ["libvirt", "qemu", "simulated"] as const;
export type HypervisorKind = (typeof HYPERVISORS)[number];

/** The XMPP servers that a site can have. */
export const SERVERS = ["prosody", "ejabberd"] as const;
export type ServerKind = (typeof SERVERS)[number];

/** What `muster up` was asked for. */
export type FederationWish = {
  readonly sites: number;
  readonly hostsPerSite: number;
  /** Cluster managers a site: one leads, the others wait to take over. */
  readonly managersPerSite: number;
  /** Where managers keep what must survive: a folder a site, or one etcd of three members, a prefix a site. */
  readonly store: "level" | "etcd";
  /** Whether the sites are peers by configuration from the start, or are left to `muster peer invite`. */
  readonly peering: "configured" | "none";
  /** First number of the sites' addresses: site i listens on `127.0.<loopback + i>.1`, so that federations can stand side by side. */
  readonly loopback: number;
  /** XMPP server of the sites that `serverOf` does not name. */
  readonly server: ServerKind;
  /** XMPP server by name of the site. */
  readonly serverOf: Readonly<Record<string, ServerKind>>;
  /** What drives the VMs of every host. */
  readonly hypervisor: HypervisorKind;
  /** With `qemu`: hardware virtualisation, emulation, or whichever a tiny guest is seen to run on. */
  readonly virtType: "auto" | "kvm" | "qemu";
  readonly hostVcpus: number;
  readonly hostMemoryMiB: number;
  readonly hostDiskGiB: number;
  readonly heartbeatMs: number;
};

/** Images that hosts without real guests all have. */
const DEMO_IMAGES = [{ tag: "debian-12" }, { tag: "alpine-3" }] as const;

export const DEFAULT_WISH: FederationWish = {
  sites: 2,
  hostsPerSite: 3,
  managersPerSite: 2,
  store: "level",
  peering: "configured",
  loopback: 11,
  server: "prosody",
  serverOf: {},
  hypervisor: "libvirt",
  virtType: "auto",
  hostVcpus: 8,
  hostMemoryMiB: 16_384,
  hostDiskGiB: 200,
  heartbeatMs: 1_000,
};

export type HostPlan = { readonly name: string; readonly zone: string };

export type ManagerPlan = { readonly name: string; readonly apiPort: number };

/** One site on one address of its own, everything on its registered port. */
export type SitePlan = {
  readonly name: string;
  readonly domain: string;
  readonly address: string;
  readonly server: ServerKind;
  /** Its server takes no connections of other servers and opens none. */
  readonly outboundOnly?: boolean;
  /** Under which addresses its XMPP server is reached, on the same ports, where something stands in between. */
  readonly via?: { readonly peers?: string; readonly hosts?: string; readonly managers?: string };
  readonly managers: readonly ManagerPlan[];
  /** Images that are present by name only; none where guests are real. */
  readonly images: readonly { readonly tag: string }[];
  readonly hostVcpus: number;
  readonly hosts: readonly HostPlan[];
};

export type FederationPlan = { readonly wish: FederationWish; readonly sites: readonly SitePlan[] };

const SITE_NAMES = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"] as const;
/** The API of the first manager of a site; the others follow. */
const API_PORT = 8080;
const MANAGER_NAMES = ["a", "b", "c"] as const;

/** Most hosts of one site on one machine: each takes a Node.js process and a libvirtd. */
export const HOSTS_MAX = 50;
export const SITES_MAX = SITE_NAMES.length;

/** Lays the federation out; the message names the option at fault. */
export function planFederation(wish: FederationWish): Result<FederationPlan, string> {
  if (!isWithin(wish.sites, 1, SITES_MAX)) return err(`--sites must be 1 to ${SITES_MAX}`);
  if (!isWithin(wish.hostsPerSite, 1, HOSTS_MAX)) return err(`--hosts must be 1 to ${HOSTS_MAX}`);
  if (!isWithin(wish.managersPerSite, 1, MANAGER_NAMES.length))
    return err(`--managers must be 1 to ${MANAGER_NAMES.length}`);
  if (!isWithin(wish.loopback, 1, 254 - wish.sites)) return err(`--loopback must be 1 to ${254 - wish.sites}`);
  const names = SITE_NAMES.slice(0, wish.sites);
  const stray = Object.keys(wish.serverOf).find((name) => !names.some((site) => site === name));
  if (stray !== undefined) return err(`--server names the site "${stray}", and there are ${names.join(", ")}`);
  const sites = names.map((name, index) => ({
    name,
    domain: `${name}.test`,
    address: `127.0.${wish.loopback + index}.1`,
    server: wish.serverOf[name] ?? wish.server,
    managers: MANAGER_NAMES.slice(0, wish.managersPerSite).map((manager, order) => ({
      name: manager,
      apiPort: API_PORT + order,
    })),
    images: wish.hypervisor === "qemu" ? [] : DEMO_IMAGES,
    hostVcpus: wish.hostVcpus,
    hosts: Array.from({ length: wish.hostsPerSite }, (_, host) => ({
      name: `host${host + 1}`,
      zone: host % 2 === 0 ? "east" : "west",
    })),
  }));
  return ok({ wish, sites });
}

/** Addresses of the HTTP API of all managers of a site. */
export function apiUrls({ address, managers }: SitePlan): string[] {
  return managers.map(({ apiPort }) => `http://${address}:${apiPort}`);
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
