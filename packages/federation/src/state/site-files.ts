import { dirname, join } from "node:path";
import { type Clock, err, ok, type Result, type Rng } from "@muster/base";
import {
  certificateNames,
  describeServerFault,
  type EjabberdSite,
  ensureSiteCertificate,
  findRunAs,
  type PrivateAuthority,
} from "@muster/xmpp-server";
import { stringify } from "yaml";
import type { FederationPlan, ManagerPlan, ServerKind, SitePlan } from "../plan/federation-plan.ts";
import { hostConfig } from "../plan/host-config.ts";
import { type ConfiguredPeer, type EtcdAccess, managerConfig, type PeerKey } from "../plan/manager-config.ts";
import type { MachinePlan } from "../qemu/machine-plan.ts";
import { SecretStore, tokenDigest, writePrivately } from "./secret-store.ts";
import { managerConfigFile, type StateFolder } from "./state-folder.ts";

/** Everything a site's processes are started from. */
export type SiteFiles = {
  readonly server: { readonly kind: ServerKind; readonly site: EjabberdSite };
  readonly accounts: readonly { readonly name: string; readonly password: string }[];
  /** Configuration file of each manager, by its name. */
  readonly managerConfigs: ReadonlyMap<string, string>;
  readonly hostConfigs: ReadonlyMap<string, string>;
  readonly adminToken: string;
};

/** The public key of each site, made on first use. */
export function siteKeys(plan: FederationPlan, folder: StateFolder, rng: Rng): readonly PeerKey[] {
  return plan.sites.map((site) => {
    const { publicKey } = new SecretStore(folder.site(site.name).secrets, rng).siteKey("site-key.pem");
    return { domain: site.domain, publicKey };
  });
}

/** What the sites of a federation have in common. */
export type SharedFiles = {
  readonly authority: PrivateAuthority;
  /** The public key of each site. */
  readonly keys: readonly PeerKey[];
  /** The etcd that keeps the sites' records, where it is not a folder a site. */
  readonly etcd: EtcdAccess | undefined;
  /** The hosts' own networks, where they run real guests in namespaces. */
  readonly machines: MachinePlan | undefined;
};

/** Writes what a site needs to start; secrets and certificates that exist are kept, so that state survives a restart. */
export async function writeSiteFiles(
  plan: FederationPlan,
  site: SitePlan,
  folder: StateFolder,
  shared: SharedFiles,
  io: { readonly clock: Clock; readonly rng: Rng },
): Promise<Result<SiteFiles, string>> {
  const paths = folder.site(site.name);
  const secrets = new SecretStore(paths.secrets, io.rng);
  const runAs = await findRunAs(site.server);
  if (!runAs.ok) return err(describeServerFault(runAs.error));
  const certificate = await ensureSiteCertificate(
    {
      authority: shared.authority,
      // The key is its server's user's alone: a site that changes its server gets another.
      folder: site.server === "prosody" ? paths.certificates : `${paths.certificates}-${site.server}`,
      names: certificateNames(site.domain),
      runAs: runAs.value,
    },
    io.clock,
  );
  if (!certificate.ok) return err(describeServerFault(certificate.error));
  const adminToken = secrets.secret("admin-token");
  return ok({
    server: { kind: site.server, site: serverSite(plan, site, paths.server, secrets, certificate.value) },
    accounts: [...accountsOf(site, secrets), ...peerAccounts(plan, site, folder, io.rng)],
    managerConfigs: new Map(
      site.managers.map((manager) => {
        const path = managerConfigFile(paths, manager.name);
        const peers = plan.wish.peering === "none" ? [] : peersOf(plan, site, secrets, shared);
        writeManagerConfig(site, manager, path, { secrets, shared, peers });
        return [manager.name, path];
      }),
    ),
    hostConfigs: writeHostConfigs(plan, site, folder, secrets, shared.machines),
    adminToken,
  });
}

/** What both servers are configured from. */
function serverSite(
  plan: FederationPlan,
  site: SitePlan,
  folder: string,
  secrets: SecretStore,
  tls: EjabberdSite["tls"],
): EjabberdSite {
  const others = plan.sites.filter(({ name }) => name !== site.name);
  return {
    domain: site.domain,
    address: site.address,
    folder,
    cloudSecret: secrets.secret("cloud-secret"),
    managers: site.managers.map(({ name }) => ({ name, secret: secrets.secret(`manager-${name}-secret`) })),
    peers: plan.wish.peering === "none" ? [] : others.map(({ domain }) => `cloud.${domain}`),
    ...(site.outboundOnly === true ? { outboundOnly: true } : {}),
    names: plan.sites.map(({ name, address, via, domain }) => ({
      address: name === site.name ? address : (via?.peers ?? address),
      names: [domain, `cloud.${domain}`],
    })),
    tls: { keyPath: tls.keyPath, certificatePath: tls.certificatePath, caPath: tls.caPath },
  };
}

/** One account a host, and `admin`, whom any XMPP client can log in as to watch the site. */
function accountsOf(site: SitePlan, secrets: SecretStore): SiteFiles["accounts"] {
  const hosts = site.hosts.map(({ name }) => ({
    name: `host-${name}`,
    password: secrets.secret(`host-${name}-password`),
  }));
  return [...hosts, { name: "admin", password: secrets.secret("admin-password") }];
}

type ManagerParts = {
  readonly secrets: SecretStore;
  readonly shared: SharedFiles;
  readonly peers: readonly ConfiguredPeer[];
};

/** The other sites, and how each is reached. */
function peersOf(
  { sites }: FederationPlan,
  site: SitePlan,
  secrets: SecretStore,
  { keys, authority }: SharedFiles,
): ConfiguredPeer[] {
  return sites.flatMap((other) => {
    const key = other.name === site.name ? undefined : keys.find(({ domain }) => domain === other.domain);
    if (key === undefined) return [];
    if (site.outboundOnly !== true)
      return other.outboundOnly === true
        ? [{ ...key, reach: { kind: "account", jid: `${peerAccount(other)}@${site.domain}` } as const }]
        : [key];
    secrets.secret(loginSecret(other));
    const login = {
      kind: "client",
      jid: `${peerAccount(site)}@${other.domain}`,
      server: `xmpps://${other.via?.hosts ?? other.address}:5223`,
      passwordFile: secrets.path(loginSecret(other)),
      caFile: authority.certificatePath,
    } as const;
    return [{ ...key, reach: login }];
  });
}

/** Accounts as which sites come that no other server reaches, by the passwords that those have. */
function peerAccounts(plan: FederationPlan, site: SitePlan, folder: StateFolder, rng: Rng): SiteFiles["accounts"] {
  if (plan.wish.peering === "none") return [];
  return plan.sites
    .filter(({ name, outboundOnly }) => outboundOnly === true && name !== site.name)
    .map((other) => ({
      name: peerAccount(other),
      password: new SecretStore(folder.site(other.name).secrets, rng).secret(loginSecret(site)),
    }));
}

const peerAccount = ({ domain }: SitePlan): string => `cloud-${domain}`;
const loginSecret = ({ name }: SitePlan): string => `login-at-${name}-password`;

/** The managers of a site share its store, tokens and key; each has a component and an API of its own. */
function writeManagerConfig(
  site: SitePlan,
  manager: ManagerPlan,
  path: string,
  { secrets, shared, peers }: ManagerParts,
): void {
  const { authority, etcd } = shared;
  const folder = dirname(path);
  const tokensFile = join(folder, "tokens.yaml");
  const token = {
    name: "admin",
    sha256: tokenDigest(secrets.secret("admin-token")),
    user: "admin",
    role: "admin",
    projects: ["*"],
  };
  writePrivately(tokensFile, stringify({ tokens: [token] }));
  const paths = {
    store: etcd ?? join(folder, "store"),
    images: join(folder, "images"),
    cloudSecretFile: secrets.path("cloud-secret"),
    managerSecretFile: secrets.path(`manager-${manager.name}-secret`),
    tokensFile,
    siteKeyFile: secrets.path("site-key.pem"),
    caFile: authority.certificatePath,
  };
  const { address, via } = site;
  const config = managerConfig(site, manager, peers, paths, {
    component: via?.managers ?? address,
    api: address,
    clients: via?.hosts ?? address,
  });
  writePrivately(path, stringify(config));
}

function writeHostConfigs(
  plan: FederationPlan,
  site: SitePlan,
  folder: StateFolder,
  secrets: SecretStore,
  machines: MachinePlan | undefined,
): Map<string, string> {
  const configs = new Map<string, string>();
  for (const host of site.hosts) {
    const paths = folder.site(site.name).host(host.name);
    const files = {
      state: join(paths.root, "state"),
      passwordFile: secrets.path(`host-${host.name}-password`),
      caFile: join(folder.authority, "ca.crt"),
      libvirtSocket: join(paths.hypervisor, "run", "libvirt-sock"),
      machine: machines?.sites.get(site.name)?.hosts.get(host.name),
    };
    const config = hostConfig(site, host, plan.wish, files, site.via?.hosts ?? site.address);
    const path = join(paths.root, "host.yaml");
    writePrivately(path, stringify(config));
    configs.set(host.name, path);
  }
  return configs;
}
