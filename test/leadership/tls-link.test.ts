import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Result, seededRng, systemClock } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import type { SiteView } from "@muster/protocol";
import {
  certificateNames,
  describeServerFault,
  ensureAuthority,
  ensureManagerCertificate,
  ensureSiteCertificate,
  findRunAs,
  managerDomain,
  type PrivateAuthority,
  ProsodyServer,
  type ServerFault,
} from "@muster/xmpp-server";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { until } from "../system/until.ts";

const DOMAIN = "alpha.test";
const PLAIN_ADDRESS = "127.44.3.1";
const TLS_ADDRESS = "127.44.3.2";
const SECRET = "a secret known to the tests";
const TOKEN = "a-token-known-to-the-tests";
/** Managers start as processes of their own, on a machine that may have much else to do. */
const WITHIN_MS = 30_000;
const API_PORT = { a: 7441, b: 7442 } as const;
type Name = keyof typeof API_PORT;

let folder: string;
let server: ProsodyServer;
let authority: PrivateAuthority;
let rogue: PrivateAuthority;
let state: string;
const running: Manager[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tls-link-"));
  chmodSync(folder, 0o755);
  const runAs = must(await findRunAs("prosody"));
  authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
  rogue = must(await ensureAuthority(join(folder, "rogue"), systemClock));
  const certificate = { authority, folder: join(folder, "certs"), names: certificateNames(DOMAIN), runAs };
  const tls = must(await ensureSiteCertificate(certificate, systemClock));
  const managers = ["a", "b"].map((name) => ({ name, secret: SECRET }));
  const [componentTls, site] = [{ address: TLS_ADDRESS }, join(folder, "site")];
  const where = { domain: DOMAIN, address: PLAIN_ADDRESS, folder: site, componentTls, names: [], peers: [] };
  server = new ProsodyServer({ site: { ...where, cloudSecret: SECRET, managers, tls } });
  must(await server.start());
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  state = mkdtempSync(join(folder, "managers-"));
});
afterEach(async () => {
  for (const manager of running.splice(0)) await manager.end("SIGKILL");
});

describe("managers that link to the XMPP server inside TLS", () => {
  it("L3: hear each other's beats, one as the site's face; when it is killed the other leads", async () => {
    const [a, b] = [await start("a"), await start("b")];
    const client = clientOf(["a", "b"]);
    const before = await settled(client);
    const [leader, standby] = before.leader === "a" ? [a, b] : [b, a];
    await leader.end("SIGKILL");
    await until("the other leads", async () => (await look(client))?.leader === standby.name, WITHIN_MS);
    const again = await start(leader.name);
    const after = await settled(client);
    expect([after.leader, after.term]).toEqual([standby.name, before.term + 1]);
    expect([again.output, standby.output].join()).not.toContain("link is down");
  });

  it("ends with 2 and the server's words when its certificate is of another authority, or another manager's", async () => {
    const rogues = [await start("a", { signer: rogue }), await start("b", { certifiedAs: "a", store: "another" })];
    for (const manager of rogues) expect([manager.name, await manager.exited]).toEqual([manager.name, 2]);
    expect(rogues[0]?.output).toContain("certificate is refused: unable to get local issuer certificate");
    expect(rogues[1]?.output).toContain("certificate is refused: cm-b.alpha.test takes one for cm-b.alpha.test");
    for (const { output } of rogues) expect(output).toContain("xmpp.tls");
  });

  it("says whose certificate does not verify, and says nothing else to such a server", async () => {
    const a = await start("a", { ca: rogue });
    const b = await start("b", { serverName: "beta.test", store: "another" });
    await until("both say so", () => [a, b].every(({ output }) => output.includes("does not verify")));
    expect(a.output).toMatch(/"reason":"the server's certificate does not verify: [^"]*certificate/);
    expect(b.output).toMatch(/"reason":"the server's certificate does not verify: [^"]*altnames/);
    expect([a, b].map(({ child }) => child.exitCode)).toEqual([null, null]);
  });

  it("S1: ends with 2 and names key and remedy when the key is not the certificate's", async () => {
    const manager = await start("a", { keyOf: "b" });
    expect(await manager.exited).toBe(2);
    expect(manager.output).toContain("xmpp.tls.key is not the key of cert");
  });
});

class Manager {
  output = "";
  readonly name: Name;
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;

  constructor(name: Name, config: string) {
    this.name = name;
    const main = join(import.meta.dirname, "../../packages/cluster-manager/src/main.ts");
    this.child = spawn(process.execPath, ["--conditions=muster-source", "--no-warnings", main, "--config", config]);
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on("data", (chunk) => {
        this.output += chunk;
      });
    this.exited = once(this.child, "close").then(([code]) => code);
    running.push(this);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    await this.exited;
  }
}

type Change = {
  readonly signer?: PrivateAuthority;
  readonly ca?: PrivateAuthority;
  readonly certifiedAs?: Name;
  readonly keyOf?: Name;
  readonly serverName?: string;
  readonly store?: string;
};

/** A manager as it would run on another machine; all of them share the store here. */
async function start(name: Name, change: Change = {}): Promise<Manager> {
  const own = join(state, name);
  mkdirSync(own, { recursive: true });
  const at = (file: string): string => join(own, file);
  const signer = change.signer ?? authority;
  const leaf = { authority: signer, runAs: undefined };
  const issued = async (holder: Name) =>
    must(
      await ensureManagerCertificate(
        { ...leaf, folder: at(`certs-${holder}`), name: managerDomain(holder, DOMAIN) },
        systemClock,
      ),
    );
  const certificate = await issued(change.certifiedAs ?? name);
  const key = change.keyOf === undefined ? certificate : await issued(change.keyOf);
  copyFileSync((change.ca ?? authority).certificatePath, at("ca.crt"));
  writeFileSync(at("secret"), SECRET);
  const sha256 = createHash("sha256").update(TOKEN).digest("hex");
  const tokens = [{ name: "t", sha256, user: "admin", role: "admin", projects: ["*"] }];
  writeFileSync(at("tokens.yaml"), JSON.stringify({ tokens }));
  const { serverName } = change;
  const tls = { ca: "ca.crt", cert: certificate.certificatePath, key: key.keyPath };
  const config = {
    site: DOMAIN,
    name,
    xmpp: {
      ...{ host: TLS_ADDRESS, secretFile: "secret", managerSecretFile: "secret" },
      tls: serverName === undefined ? tls : { ...tls, serverName },
    },
    store: { path: join(state, change.store ?? "store") },
    api: { host: PLAIN_ADDRESS, port: API_PORT[name], tokensFile: "tokens.yaml" },
  };
  writeFileSync(at("cluster.yaml"), JSON.stringify(config));
  return new Manager(name, at("cluster.yaml"));
}

function clientOf(names: readonly Name[]): SiteClient {
  const urls = names.map((name) => `http://${PLAIN_ADDRESS}:${API_PORT[name]}`);
  return createSiteClient({ endpoint: { urls, token: TOKEN }, clock: systemClock, rng: seededRng(1) });
}

async function look(client: SiteClient): Promise<SiteView | undefined> {
  const site = await client.site();
  return site.ok ? site.value : undefined;
}

/** Waits until one leads with the link up, and hears the other stand by: that comes by beats alone. */
async function settled(client: SiteClient): Promise<SiteView> {
  let seen: SiteView | undefined;
  await until(
    () => `a leader and a standby: ${JSON.stringify(seen)} ${running.map(({ output }) => output.slice(-2_000)).join()}`,
    async () => {
      seen = await look(client);
      return seen?.reconciled === true && seen.managers.some(({ role }) => role === "standby");
    },
    WITHIN_MS,
  );
  if (seen === undefined) throw new Error("no site was seen");
  return seen;
}

function must<Value>(result: Result<Value, ServerFault>): Value {
  if (!result.ok) throw new Error(describeServerFault(result.error));
  return result.value;
}
