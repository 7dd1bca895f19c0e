import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Result, systemClock, systemRng } from "@muster/base";
import { type Bus, xmppComponentBus } from "@muster/xmpp";
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

export const PASSWORD = "the password of the tests";

/** A real Prosody below a temporary folder, with the leader's component bound by the test. */
export type RealSite = {
  readonly folder: string;
  readonly domain: string;
  readonly service: string;
  readonly caPath: string;
  readonly caPem: string;
  readonly server: ProsodyServer;
  /** Binds `cloud.<domain>`; not started. */
  component(): Bus;
  close(): Promise<void>;
};

export async function realSite(domain: string, address: string, accounts: readonly string[]): Promise<RealSite> {
  const folder = await mkdtemp(join(tmpdir(), "muster-hm-"));
  await chmod(folder, 0o755);
  const runAs = must(await findRunAs("prosody"));
  const authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
  const names = certificateNames(domain);
  const certificate = { authority, folder: join(folder, "certs"), names, runAs };
  const tls = must(await ensureSiteCertificate(certificate, systemClock));
  const server = new ProsodyServer({
    site: {
      domain,
      address,
      folder: join(folder, "site"),
      cloudSecret: PASSWORD,
      managers: [],
      peers: [],
      names: [{ address, names }],
      tls,
    },
    accounts: accounts.map((name) => ({ name, password: PASSWORD })),
  });
  must(await server.start());
  const secret = PASSWORD;
  const port = PROSODY_PORTS.component;
  return {
    folder,
    domain,
    service: `xmpps://${address}:${PROSODY_PORTS.clientTls}`,
    caPath: tls.caPath,
    caPem: await readFile(tls.caPath, "utf8"),
    server,
    component: () =>
      xmppComponentBus({
        clock: systemClock,
        rng: systemRng,
        host: address,
        port,
        domain: cloudDomain(domain),
        secret,
      }),
    async close() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function must<Value>(result: Result<Value, ServerFault>): Value {
  if (!result.ok) throw new Error(describeServerFault(result.error));
  return result.value;
}
