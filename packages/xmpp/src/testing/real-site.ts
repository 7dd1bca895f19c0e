import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Result, systemClock } from "@muster/base";
import {
  certificateNames,
  cloudDomain,
  describeServerFault,
  ensureAuthority,
  ensureSiteCertificate,
  findRunAs,
  PROSODY_PORTS,
  ProsodyServer,
  type ServerFault,
} from "@muster/xmpp-server";

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
      managers: [{ name: "a", secret: SECRET }],
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
