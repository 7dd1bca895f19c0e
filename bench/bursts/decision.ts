/** From a request that does not fit at home to the lease at the best of three peers: real processes, real Prosody, loopback. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { systemClock, systemRng } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import { readFederationFile } from "@muster/federation";
import { percentile } from "../site/process-meter.ts";

const MUSTER = fileURLToPath(new URL("../../muster", import.meta.url));
const BURSTS = 100;
const UP_WITHIN_MS = 120_000;
const SHAPE = ["--sites", "4", "--hosts", "1", "--managers", "1", "--hypervisor", "simulated", "--host-cpus", "128"];

export async function decisionTimes(): Promise<string> {
  const state = mkdtempSync(join(tmpdir(), "mb-"));
  chmodSync(state, 0o711);
  const child = spawn(MUSTER, ["--state", state, "up", ...SHAPE, "--loopback", "241"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  try {
    await saysUp(child);
    return await measure(clientOf(state));
  } finally {
    child.kill("SIGINT");
    await new Promise((resolve) => child.once("exit", resolve));
    rmSync(state, { recursive: true, force: true });
  }
}

async function measure(client: SiteClient): Promise<string> {
  await until("three peers are reached", async () => {
    const peers = await client.peers();
    return peers.ok && peers.value.filter(({ offered }) => offered?.accepting === true).length === 3;
  });
  const { leasedAtMs, stop } = follow(client);
  const times: number[] = [];
  // The first ones pay for connections and compilation.
  for (let index = -5; index < BURSTS; index += 1) {
    const name = `away${index + 5}`;
    const sentMs = performance.now();
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 128, diskGiB: 1 };
    const created = await client.createVms({ name, spec, burst: "only" }, name);
    if (!created.ok) throw new Error(created.error.message);
    await until(`${name} is leased`, () => leasedAtMs.has(name), 1);
    if (index >= 0) times.push((leasedAtMs.get(name) ?? 0) - sentMs);
    // Long enough that some decisions find fresh offers, and some have to ask for them.
    await pause(300);
  }
  stop();
  const vms = await client.vms();
  const where = new Map<string, number>();
  for (const { place } of vms.ok ? vms.value : [])
    if (place.kind === "peer") where.set(place.peer, (where.get(place.peer) ?? 0) + 1);
  const shares = [...where].sort().map(([peer, count]) => `${peer} ${count}`);
  const ms = (share: number): string => percentile(times, share).toFixed(0);
  return [
    `| from POST /v1/vms to the lease, ${BURSTS} bursts, 3 peers | ms |`,
    "|---|---|",
    `| p50 | ${ms(0.5)} |`,
    `| p99 | ${ms(0.99)} |`,
    `| worst | ${Math.max(...times).toFixed(0)} |`,
    "",
    `Leases: ${shares.join(", ")}.`,
  ].join("\n");
}

/** When each VM's lease was told of, by name. */
function follow(client: SiteClient): { readonly leasedAtMs: ReadonlyMap<string, number>; stop(): void } {
  const leasedAtMs = new Map<string, number>();
  const abort = new AbortController();
  void (async () => {
    for await (const { kind, message } of client.events(abort.signal, "now")) {
      const leased = kind === "lease" ? /^(\S+) at \S+ is leased/.exec(message) : null;
      if (leased?.[1] !== undefined && !leasedAtMs.has(leased[1])) leasedAtMs.set(leased[1], performance.now());
    }
  })();
  return { leasedAtMs, stop: () => abort.abort() };
}

function clientOf(state: string): SiteClient {
  const file = readFederationFile(state);
  if (!file.ok) throw new Error(file.error);
  const [home] = file.value.sites;
  if (home === undefined) throw new Error("there is no site");
  const token = readFileSync(home.tokenFile, "utf8").trim();
  return createSiteClient({ endpoint: { urls: home.urls, token }, clock: systemClock, rng: systemRng });
}

function saysUp(child: ChildProcess): Promise<void> {
  let said = "";
  return new Promise((resolve, reject) => {
    const take = (text: string): void => {
      said += text;
      if (said.includes(" are up after ") || said.includes("Ctrl-C stops everything")) resolve();
    };
    child.stdout?.setEncoding("utf8").on("data", take);
    child.stderr?.setEncoding("utf8").on("data", take);
    child.once("exit", () => reject(new Error(said)));
  });
}

async function until(what: string, holds: () => boolean | Promise<boolean>, everyMs = 50): Promise<void> {
  const endMs = performance.now() + UP_WITHIN_MS;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`not in time: ${what}`);
    await pause(everyMs);
  }
}
