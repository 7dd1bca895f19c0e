/** One site for measuring: real Prosody, a real manager process over a `level` store, and a farm of hosts. */
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
const API = { host: ADDRESS, port: 8080 };
const TOKEN = "bench-token-of-no-other-use";
const MANAGER = fileURLToPath(new URL("../../packages/cluster-manager/src/main.ts", import.meta.url));
const FARM = fileURLToPath(new URL("./host-farm.ts", import.meta.url));

export type BenchSite = {
  readonly client: SiteClient;
  readonly url: string;
  readonly token: string;
  /** Process ids by role, for CPU and memory. */
  readonly pids: Readonly<Record<"prosody" | "manager" | "farm", number>>;
  onReport(listener: (report: FarmReport) => void): void;
  /** Sends the farm its hosts. */
  startHosts(): void;
  stop(): Promise<void>;
};

export async function startBenchSite(hosts: number, heartbeatMs: number, vcpusPerHost: number): Promise<BenchSite> {
  const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(folder, 0o711);
  const names = Array.from({ length: hosts }, (_, index) => `h${index + 1}`);
  const accounts = names.map((name) => ({ name: `host-${name}`, password: `password-of-${name}` }));
  const { server, caPem } = await startServer(folder, accounts);
  const manager = startManager(folder, names);
  const farm = fork(FARM, { execArgv: ["--conditions=muster-source"], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const url = `http://${API.host}:${API.port}`;
  const client = createSiteClient({ endpoint: { urls: [url], token: TOKEN }, clock: systemClock, rng: systemRng });
  const order: FarmOrder = {
    site: SITE,
    service: `xmpps://${ADDRESS}:5223`,
    caPem,
    heartbeatMs,
    vcpus: vcpusPerHost,
    hosts: names.map((name) => ({ name, password: `password-of-${name}` })),
  };
  await until(async () => (await client.site()).ok, 30_000);
  return {
    client,
    url,
    token: TOKEN,
    pids: { prosody: server.pid ?? 0, manager: manager.pid ?? 0, farm: farm.pid ?? 0 },
    onReport: (listener) => void farm.on("message", (message) => listener(message as FarmReport)),
    startHosts: () => void farm.send(order),
    stop: async () => {
      await end(farm);
      await end(manager);
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function startServer(folder: string, accounts: readonly { name: string; password: string }[]) {
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
      managers: [],
      peers: [],
      names: [{ address: ADDRESS, names: [SITE, `cloud.${SITE}`] }],
      tls: tls.value,
    },
    accounts,
    startTimeoutMs: 120_000,
  });
  const started = await server.start();
  if (!started.ok) throw new Error(describeServerFault(started.error));
  return { server, caPem: readFileSync(authority.value.certificatePath, "utf8") };
}

function startManager(folder: string, hosts: readonly string[]): ChildProcess {
  const at = join(folder, "manager");
  mkdirSync(at);
  writeFileSync(join(at, "secret"), "a-secret-of-the-bench-site\n");
  const sha256 = createHash("sha256").update(TOKEN).digest("hex");
  writeFileSync(
    join(at, "tokens.yaml"),
    stringify({ tokens: [{ name: "bench", sha256, user: "bench", role: "admin", projects: ["*"] }] }),
  );
  writeFileSync(
    join(at, "cluster.yaml"),
    stringify({
      site: SITE,
      name: "a",
      xmpp: { host: ADDRESS, port: 5347, secretFile: "secret" },
      store: { kind: "level", path: "store" },
      api: { ...API, tokensFile: "tokens.yaml" },
      hosts,
      images: [{ tag: "debian-12" }],
      timing: { settleMs: 1_000 },
      logLevel: "warn",
    }),
  );
  return spawn(process.execPath, ["--conditions=muster-source", MANAGER, "--config", join(at, "cluster.yaml")], {
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
