import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import {
  certificateNames,
  cloudDomain,
  EjabberdServer,
  ensureAuthority,
  ensureSiteCertificate,
  findRunAs,
  PROSODY_PORTS,
} from "@muster/xmpp-server";
import { must, type RealSite, SECRET } from "./real-site.ts";

/** What of a real site its server decides, whichever it is. */
export type AnySite = Pick<RealSite, "domain" | "cloud" | "caPem" | "service" | "component" | "close"> & {
  readonly server: EjabberdServer;
};

/** One real ejabberd below a temporary folder, as the product configures it. For tests. */
export async function realEjabberd(domain: string, address: string, accounts: readonly string[]): Promise<AnySite> {
  const folder = await mkdtemp(join(tmpdir(), "xmpp-ejabberd-"));
  await chmod(folder, 0o755);
  const runAs = must(await findRunAs("ejabberd"));
  const authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
  const names = certificateNames(domain);
  const certificate = { authority, folder: join(folder, "certs"), names, runAs };
  const tls = must(await ensureSiteCertificate(certificate, systemClock));
  const server = new EjabberdServer({
    site: {
      domain,
      address,
      folder: join(folder, "site"),
      cloudSecret: SECRET,
      managers: ["a", "b"].map((name) => ({ name, secret: SECRET })),
      peers: [],
      names: [{ address, names }],
      tls,
    },
    accounts: accounts.map((name) => ({ name, password: SECRET })),
  });
  must(await server.start());
  return {
    domain,
    cloud: cloudDomain(domain),
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
