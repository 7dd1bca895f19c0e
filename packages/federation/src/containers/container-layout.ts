import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { assert, type Clock, err, ok, type Result, type Rng } from "@muster/base";
import {
  certificateNames,
  describeServerFault,
  ensureAuthority,
  ensureSiteCertificate,
  findRunAs,
  type PrivateAuthority,
  type SiteCertificate,
  writeOfflineSite,
} from "@muster/xmpp-server";
import { stringify } from "yaml";
import { apiUrls, type FederationPlan, type ManagerPlan, type SitePlan } from "../plan/federation-plan.ts";
import { hostConfig } from "../plan/host-config.ts";
import { managerConfig, type PeerKey } from "../plan/manager-config.ts";
import type { FederationFile } from "../state/federation-file.ts";
import { SecretStore, tokenDigest, writePrivately } from "../state/secret-store.ts";
import {
  ANY_ADDRESS,
  addressesOf,
  COMPONENT_ADDRESS,
  type ContainerFolders,
  containerFolders,
  containerPlan,
} from "./container-plan.ts";

type Layout = {
  readonly plan: FederationPlan;
  readonly folders: ContainerFolders;
  readonly operator: SecretStore;
  readonly keys: readonly PeerKey[];
  readonly authority: PrivateAuthority;
  readonly authorityPem: string;
  readonly clock: Clock;
  readonly rng: Rng;
};

/**
 * Writes configuration, keys, certificates and accounts of the sites of `docker-compose.yml` below `out`, one folder a
 * volume: what a part needs lies in its own folder. Needs no network and starts nothing; secrets, certificates and
 * accounts that exist are kept. The message of an error says what to do.
 */
export async function writeContainerLayout(
  out: string,
  io: { readonly clock: Clock; readonly rng: Rng },
): Promise<Result<FederationPlan, string>> {
  const plan = containerPlan();
  const folders = containerFolders(out);
  makeFolders(plan, folders);
  const authority = await ensureAuthority(folders.authority, io.clock);
  if (!authority.ok) return err(describeServerFault(authority.error));
  const authorityPem = readFileSync(authority.value.certificatePath, "utf8");
  const operator = new SecretStore(folders.operator, io.rng);
  const keys = plan.sites.map((site) => ({
    domain: site.domain,
    publicKey: managerSecrets(folders, site, io.rng).siteKey("site-key.pem").publicKey,
  }));
  const layout = { plan, folders, operator, keys, authority: authority.value, authorityPem, ...io };
  for (const site of plan.sites) {
    const written = await writeSite(layout, site);
    if (!written.ok) return err(`${site.name}: ${written.error}`);
  }
  writeOperatorFiles(layout);
  return ok(plan);
}

/** One folder a volume, for its part alone; those above are for passing through: the XMPP server has a user of its own. */
function makeFolders(plan: FederationPlan, folders: ContainerFolders): void {
  const ofSite = (site: SitePlan): readonly string[] => [
    folders.server(site),
    folders.manager(site),
    ...site.hosts.map((_, index) => folders.host(site, index + 1)),
  ];
  for (const folder of [folders.authority, folders.operator, ...plan.sites.flatMap(ofSite)]) {
    mkdirSync(dirname(folder), { recursive: true, mode: 0o711 });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
}

async function writeSite(layout: Layout, site: SitePlan): Promise<Result<void, string>> {
  for (const [index, host] of site.hosts.entries()) {
    const folder = layout.folders.host(site, index + 1);
    writeHostFiles(layout, site, host, folder);
  }
  writeManagerFiles(layout, site);
  return await writeServerFiles(layout, site);
}

function writeHostFiles(
  { plan, rng, authorityPem }: Layout,
  site: SitePlan,
  host: SitePlan["hosts"][number],
  folder: string,
): void {
  const secrets = new SecretStore(folder, rng);
  secrets.secret("password");
  const caFile = join(folder, "ca.crt");
  writePrivately(caFile, authorityPem);
  const paths = {
    state: join(folder, "state"),
    passwordFile: secrets.path("password"),
    caFile,
    // The folder is short, for the path of a socket may have 107 bytes; `libvirtd.ts` makes it.
    libvirtSocket: join(folder, "v", "run", "libvirt-sock"),
  };
  const config = hostConfig(site, host, plan.wish, paths, addressesOf(site).inside);
  writePrivately(join(folder, "host.yaml"), stringify(config));
}

function writeManagerFiles({ folders, keys, operator, rng, authorityPem }: Layout, site: SitePlan): void {
  const folder = folders.manager(site);
  const secrets = managerSecrets(folders, site, rng);
  for (const name of [CLOUD_SECRET, managerSecret(site)]) secrets.secret(name);
  const tokensFile = join(folder, "tokens.yaml");
  const sha256 = tokenDigest(operator.secret(adminToken(site)));
  const admin = { name: "admin", sha256, user: "admin", role: "admin", projects: ["*"] };
  writePrivately(tokensFile, stringify({ tokens: [admin] }));
  const caFile = join(folder, "ca.crt");
  writePrivately(caFile, authorityPem);
  const paths = {
    store: join(folder, "store"),
    cloudSecretFile: secrets.path(CLOUD_SECRET),
    managerSecretFile: secrets.path(managerSecret(site)),
    tokensFile,
    siteKeyFile: secrets.path("site-key.pem"),
    caFile,
  };
  const peers = keys.filter(({ domain }) => domain !== site.domain);
  const hosts = { component: COMPONENT_ADDRESS, api: ANY_ADDRESS, clients: addressesOf(site).inside };
  writePrivately(join(folder, "cluster.yaml"), stringify(managerConfig(site, managerOf(site), peers, paths, hosts)));
}

async function writeServerFiles(layout: Layout, site: SitePlan): Promise<Result<void, string>> {
  const { plan, folders, operator, rng } = layout;
  const folder = folders.server(site);
  const tls = await certificateOf(layout, site, join(folder, "certificates"));
  if (!tls.ok) return tls;
  const secrets = managerSecrets(folders, site, rng);
  const hostAccounts = site.hosts.map(({ name }, index) => {
    const password = new SecretStore(folders.host(site, index + 1), rng).secret("password");
    return { name: `host-${name}`, password };
  });
  const { keyPath, certificatePath, caPath } = tls.value;
  const written = await writeOfflineSite({
    site: {
      domain: site.domain,
      address: ANY_ADDRESS,
      componentAddress: COMPONENT_ADDRESS,
      folder,
      cloudSecret: secrets.secret(CLOUD_SECRET),
      managers: [{ name: managerOf(site).name, secret: secrets.secret(managerSecret(site)) }],
      peers: plan.sites.filter(({ name }) => name !== site.name).map(({ domain }) => `cloud.${domain}`),
      names: plan.sites.map((each) => ({
        address: addressesOf(each).federation,
        names: [each.domain, `cloud.${each.domain}`],
      })),
      tls: { keyPath, certificatePath, caPath },
    },
    accounts: [...hostAccounts, { name: "admin", password: operator.secret(adminPassword(site)) }],
  });
  return written.ok ? written : err(describeServerFault(written.error));
}

async function certificateOf(
  { authority, clock }: Layout,
  site: SitePlan,
  folder: string,
): Promise<Result<SiteCertificate, string>> {
  const runAs = await findRunAs("prosody");
  if (!runAs.ok) return err(describeServerFault(runAs.error));
  const names = certificateNames(site.domain);
  const certificate = await ensureSiteCertificate({ authority, folder, names, runAs: runAs.value }, clock);
  return certificate.ok ? certificate : err(describeServerFault(certificate.error));
}

/** What the command line works with: the sites' addresses, the admins' tokens, the passwords of the XMPP accounts. */
function writeOperatorFiles({ plan, folders, operator, authorityPem }: Layout): void {
  const caFile = join(folders.operator, "ca.crt");
  writePrivately(caFile, authorityPem);
  const file: FederationFile = {
    version: 1,
    wish: plan.wish,
    sites: plan.sites.map((site) => ({
      name: site.name,
      domain: site.domain,
      urls: apiUrls(site),
      tokenFile: operator.path(adminToken(site)),
      xmppAddress: site.address,
      caFile,
      server: site.server,
    })),
  };
  writePrivately(join(folders.operator, "federation.json"), `${JSON.stringify(file, null, 2)}\n`);
}

function managerSecrets(folders: ContainerFolders, site: SitePlan, rng: Rng): SecretStore {
  return new SecretStore(join(folders.manager(site), "secrets"), rng);
}

const CLOUD_SECRET = "cloud-secret";
const managerSecret = (site: SitePlan): string => `manager-${managerOf(site).name}-secret`;
/** Each site of the containers has one manager, with a volume of its own. */
function managerOf({ managers }: SitePlan): ManagerPlan {
  const [manager] = managers;
  assert(manager !== undefined, "every site has a manager");
  return manager;
}
/** The doctor finds the password beside the token, by its name. */
const adminToken = (site: SitePlan): string => `${site.name}-admin-token`;
const adminPassword = (site: SitePlan): string => `${site.name}-admin-password`;
