import { existsSync, readFileSync } from "node:fs";
import { err, ok, type Result } from "@muster/base";
import { z } from "zod";
import { apiUrls, DEFAULT_WISH, type FederationPlan, HYPERVISORS, SERVERS } from "../plan/federation-plan.ts";
import { writePrivately } from "./secret-store.ts";
import { managerConfigFile, type StateFolder, stateFolder } from "./state-folder.ts";

const siteEntrySchema = z.object({
  name: z.string(),
  domain: z.string(),
  urls: z.array(z.url()).min(1),
  tokenFile: z.string(),
  xmppAddress: z.string(),
  caFile: z.string(),
  /** Which XMPP server it has; the doctor says what follows from it. */
  server: z.enum(SERVERS).default(DEFAULT_WISH.server),
  /** Configuration of its first cluster manager: the doctor asks the store that it names. */
  managerConfig: z.string().optional(),
});
const wishSchema = z.object({
  sites: z.int(),
  hostsPerSite: z.int(),
  managersPerSite: z.int().default(DEFAULT_WISH.managersPerSite),
  store: z.enum(["level", "etcd"]).default(DEFAULT_WISH.store),
  peering: z.enum(["configured", "none"]).default(DEFAULT_WISH.peering),
  loopback: z.int(),
  server: z.enum(SERVERS).default(DEFAULT_WISH.server),
  serverOf: z.record(z.string(), z.enum(SERVERS)).default({}),
  hypervisor: z.enum(HYPERVISORS),
  virtType: z.enum(["auto", "kvm", "qemu"]).default(DEFAULT_WISH.virtType),
  hostVcpus: z.int(),
  hostMemoryMiB: z.int(),
  hostDiskGiB: z.int(),
  heartbeatMs: z.int(),
});
const federationFileSchema = z.object({
  version: z.literal(1),
  wish: wishSchema,
  sites: z.array(siteEntrySchema).min(1),
});

/** What a running federation leaves for the command line: each site's addresses and where its admin token lies. */
export type FederationFile = z.output<typeof federationFileSchema>;
export type SiteEntry = z.output<typeof siteEntrySchema>;

export function writeFederationFile(folder: StateFolder, plan: FederationPlan): void {
  const file: FederationFile = {
    version: 1,
    wish: plan.wish,
    sites: plan.sites.map((site) => ({
      name: site.name,
      domain: site.domain,
      urls: apiUrls(site),
      tokenFile: `${folder.site(site.name).secrets}/admin-token`,
      xmppAddress: site.address,
      caFile: `${folder.authority}/ca.crt`,
      server: site.server,
      managerConfig: managerConfigFile(folder.site(site.name), site.managers[0]?.name ?? ""),
    })),
  };
  writePrivately(folder.federationFile, `${JSON.stringify(file, null, 2)}\n`);
}

/** Reads it back; the error says what to do. */
export function readFederationFile(root: string): Result<FederationFile, string> {
  const path = stateFolder(root).federationFile;
  if (!existsSync(path))
    return err(`no federation in ${root}; start one with "muster up", or name a site with --api and --token-file`);
  try {
    const file = federationFileSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return file.success
      ? ok(file.data)
      : err(`${path} is from another version; start the federation again with --fresh`);
  } catch (cause) {
    return err(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
