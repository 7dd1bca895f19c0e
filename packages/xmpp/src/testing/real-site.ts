import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Result, systemClock } from "@muster/base";
import {
  certificateNames,
  cloudDomain,
  describeServerFault,
  ensureAuthority,
  ensureManagerCertificate,
  ensureSiteCertificate,
  findRunAs,
  managerDomain,
  PROSODY_PORTS,
  type PrivateAuthority,
  ProsodyServer,
  type ServerFault,
} from "@muster/xmpp-server";
import type { ComponentTls } from "../component-tls.ts";

export const SECRET = "the secret of the tests";

/** One real Prosody below a temporary folder, as the product configures it. For tests. */
export type RealSite = {
  readonly domain: string;
  readonly cloud: string;
  readonly address: string;
  readonly caPem: string;
  readonly server: ProsodyServer;
  readonly service: { readonly host: string; readonly port: number };
  readonly component: { readonly host: string; readonly port: number };
  /** Where components link inside TLS. */
  readonly componentTls: { readonly host: string; readonly port: number };
  readonly authority: PrivateAuthority;
  readonly folder: string;
  /** What the manager of that name links with, its certificate made by `authority` (the site's if not given). */
  managerTls(name: string, authority?: PrivateAuthority): Promise<ComponentTls>;
  close(): Promise<void>;
};

export async function realSite(domain: string, address: string, accounts: readonly string[]): Promise<RealSite> {
  const folder = await mkdtemp(join(tmpdir(), "xmpp-bus-"));
  await chmod(folder, 0o755);
  const runAs = must(await findRunAs("prosody"));
  const authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
  const names = certificateNames(domain);
  const certificate = { authority, folder: join(folder, "certs"), names, runAs };
  const tls = must(await ensureSiteCertificate(certificate, systemClock));
  const cloud = cloudDomain(domain);
  const server = new ProsodyServer({
    site: {
      domain,
      address,
      folder: join(folder, "site"),
      cloudSecret: SECRET,
      managers: ["a", "b"].map((name) => ({ name, secret: SECRET })),
      componentTls: {},
      peers: [],
      names: [{ address, names }],
      tls,
    },
    accounts: accounts.map((name) => ({ name, password: SECRET })),
  });
  must(await server.start());
  return {
    domain,
    cloud,
    address,
    caPem: await readFile(tls.caPath, "utf8"),
    server,
    service: { host: address, port: PROSODY_PORTS.clientTls },
    component: { host: address, port: PROSODY_PORTS.component },
    componentTls: { host: address, port: PROSODY_PORTS.componentTls },
    authority,
    folder,
    async managerTls(name, signer = authority) {
      const at = join(folder, "managers", `${name}-${randomBytes(4).toString("hex")}`);
      const leaf = { authority: signer, folder: at, name: managerDomain(name, domain), runAs: undefined };
      const made = must(await ensureManagerCertificate(leaf, systemClock));
      const [caPem, certPem, keyPem] = await Promise.all(
        [tls.caPath, made.certificatePath, made.keyPath].map((path) => readFile(path, "utf8")),
      );
      if (caPem === undefined || certPem === undefined || keyPem === undefined) throw new Error("three files");
      return { caPem, certPem, keyPem, serverName: domain };
    },
    async close() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The value of what has to succeed in a test. */
export function must<Value>(result: Result<Value, ServerFault>): Value {
  if (!result.ok) throw new Error(describeServerFault(result.error));
  return result.value;
}
