/** One site for measuring: real Prosody, real manager processes over one store, and a farm of hosts. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock, systemRng } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import {
  certificateNames,
  describeServerFault,
  ensureAuthority,
  ensureSiteCertificate,
  findRunAs,
  ProsodyServer,
} from "@muster/xmpp-server";
import { stringify } from "yaml";
import type { FarmOrder, FarmReport } from "./host-farm.ts";

const SITE = "bench.test";
const ADDRESS = "127.0.99.1";
const API_PORT = 8080;
/** As a supervisor does it. */
const RESTART_AFTER_MS = 500;
const TOKEN = "bench-token-of-no-other-use";
const MANAGER_SECRET = "a-secret-of-the-bench-managers";
const MANAGER = fileURLToPath(new URL("../../packages/cluster-manager/src/main.ts", import.meta.url));
const FARM = fileURLToPath(new URL("./host-farm.ts", import.meta.url));

export type BenchSite = {
  readonly client: SiteClient;
  readonly url: string;
  readonly token: string;
  /** Process ids by role, for CPU and memory. */
  readonly pids: Readonly<Record<"prosody" | "manager" | "farm", number>>;
  onReport(listener: (report: FarmReport) => void): void;
  urlOf(manager: string): string;
  /** Starts a manager of the site that was killed. One that ends by itself is started again. */
  startManager(name: string): void;
  /** How many ended by themselves. */
  replaced(): number;
  killManager(name: string): Promise<void>;
  /** Sends the farm its hosts. */
  startHosts(): void;
  stop(): Promise<void>;
};

/** What a site has beyond one manager over a `level` store. */
export type BenchExtras = {
  /** Names of the managers; the first is to lead. */
  readonly managers?: readonly string[];
  /** `store:` of the managers' configuration. */
  readonly store?: object;
  /** Silence after which the server takes a link for dead. */
  readonly deadPeerSeconds?: number;
};

export async function startBenchSite(
  hosts: number,
  heartbeatMs: number,
  vcpusPerHost: number,
  { managers: names = ["a"], store = { kind: "level", path: "store" }, deadPeerSeconds }: BenchExtras = {},
): Promise<BenchSite> {
  const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(folder, 0o711);
  const hostNames = Array.from({ length: hosts }, (_, index) => `h${index + 1}`);
  const accounts = hostNames.map((name) => ({ name: `host-${name}`, password: `password-of-${name}` }));
  const { server, caPem } = await startServer(folder, { accounts, managers: names, deadPeerSeconds });
  const managers = new Map<string, ChildProcess>();
  /** Those whose end is meant. */
  const ending = new Set<ChildProcess>();
  let replaced = 0;
  const urls = names.map((_, order) => `http://${ADDRESS}:${API_PORT + order}`);
  const startManager = (name: string): void => {
    const config = managerConfig(folder, { name, port: API_PORT + names.indexOf(name), hosts: hostNames, store });
    const child = spawnManager(config);
    managers.set(name, child);
    child.once("exit", () => {
      if (ending.has(child)) return;
      replaced += 1;
      systemClock.setTimer(RESTART_AFTER_MS, () => startManager(name));
    });
  };
  const [first = "a", ...others] = names;
  startManager(first);
  const farm = fork(FARM, { execArgv: ["--conditions=muster-source"], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const client = createSiteClient({ endpoint: { urls, token: TOKEN }, clock: systemClock, rng: systemRng });
  const order: FarmOrder = {
    site: SITE,
    service: `xmpps://${ADDRESS}:5223`,
    caPem,
    heartbeatMs,
    vcpus: vcpusPerHost,
    hosts: hostNames.map((name) => ({ name, password: `password-of-${name}` })),
  };
  await until(async () => (await client.site()).ok, 30_000);
  for (const name of others) startManager(name);
  return {
    client,
    url: urls[0] ?? "",
    token: TOKEN,
    urlOf: (manager) => urls[names.indexOf(manager)] ?? "",
    replaced: () => replaced,
    pids: { prosody: server.pid ?? 0, manager: managers.get(first)?.pid ?? 0, farm: farm.pid ?? 0 },
    onReport: (listener) => void farm.on("message", (message) => listener(message as FarmReport)),
    startManager,
    killManager: async (name) => {
      const child = managers.get(name);
      if (child === undefined) return;
      ending.add(child);
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    },
    startHosts: () => void farm.send(order),
    stop: async () => {
      await end(farm);
      for (const manager of managers.values()) ending.add(manager);
      for (const manager of managers.values()) await end(manager);
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

type ServerWish = {
  readonly accounts: readonly { name: string; password: string }[];
  readonly managers: readonly string[];
  readonly deadPeerSeconds: number | undefined;
};

async function startServer(folder: string, { accounts, managers, deadPeerSeconds }: ServerWish) {
  const authority = await ensureAuthority(join(folder, "authority"), systemClock);
  if (!authority.ok) throw new Error(describeServerFault(authority.error));
  const runAs = await findRunAs("prosody");
  if (!runAs.ok) throw new Error(describeServerFault(runAs.error));
  const tls = await ensureSiteCertificate(
    {
      authority: authority.value,
      folder: join(folder, "certificates"),
      names: certificateNames(SITE),
      runAs: runAs.value,
    },
    systemClock,
  );
  if (!tls.ok) throw new Error(describeServerFault(tls.error));
  const server = new ProsodyServer({
    site: {
      domain: SITE,
      address: ADDRESS,
      folder: join(folder, "xmpp"),
      cloudSecret: "a-secret-of-the-bench-site",
      managers: managers.map((name) => ({ name, secret: MANAGER_SECRET })),
      peers: [],
      names: [{ address: ADDRESS, names: [SITE, `cloud.${SITE}`] }],
      tls: tls.value,
      ...(deadPeerSeconds === undefined ? {} : { deadPeerSeconds }),
    },
    accounts,
    startTimeoutMs: 120_000,
  });
  const started = await server.start();
  if (!started.ok) throw new Error(describeServerFault(started.error));
  return { server, caPem: readFileSync(authority.value.certificatePath, "utf8") };
}

type ManagerWish = {
  readonly name: string;
  readonly port: number;
  readonly hosts: readonly string[];
  readonly store: object;
};

/** Writes what a manager is started from; answers its configuration file. */
function managerConfig(folder: string, { name, port, hosts, store }: ManagerWish): string {
  const at = join(folder, "manager");
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "secret"), "a-secret-of-the-bench-site\n");
  writeFileSync(join(at, "manager-secret"), `${MANAGER_SECRET}\n`);
  const sha256 = createHash("sha256").update(TOKEN).digest("hex");
  writeFileSync(
    join(at, "tokens.yaml"),
    stringify({ tokens: [{ name: "bench", sha256, user: "bench", role: "admin", projects: ["*"] }] }),
  );
  const file = join(at, `cluster-${name}.yaml`);
  writeFileSync(
    file,
    stringify({
      site: SITE,
      name,
      xmpp: { host: ADDRESS, port: 5347, secretFile: "secret", managerSecretFile: "manager-secret" },
      store,
      api: { host: ADDRESS, port, tokensFile: "tokens.yaml" },
      hosts,
      images: [{ tag: "debian-12" }],
      timing: { settleMs: 1_000 },
      logLevel: "error",
    }),
  );
  return file;
}

function spawnManager(config: string): ChildProcess {
  return spawn(process.execPath, ["--conditions=muster-source", MANAGER, "--config", config], {
    stdio: ["ignore", "inherit", "inherit"],
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const cancel = systemClock.setTimer(10_000, () => child.kill("SIGKILL"));
  await ended;
  cancel();
}

/** Waits for a condition; a bench that waits longer than its limit fails. */
export async function until(condition: () => Promise<boolean> | boolean, limitMs: number): Promise<void> {
  const deadlineMs = systemClock.nowMs() + limitMs;
  while (!(await condition())) {
    if (systemClock.nowMs() > deadlineMs) throw new Error(`still not so after ${limitMs} ms: ${condition.toString()}`);
    await new Promise<void>((resolve) => systemClock.setTimer(20, resolve));
  }
}
