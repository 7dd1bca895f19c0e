/**
 * What a large site adds to a change of the lead: 1,000 simulated hosts, first with no VM, then with 20,000; the leader is
 * killed, and a VM that is asked for afterwards is timed until it runs. Over `level`, and over an etcd of three members. The
 * one that was killed is started again, as a supervisor does, and the next run waits until the site is at rest.
 *
 *   npm run bench -- takeover-large
 */
import { loadavg } from "node:os";
import { systemClock } from "@muster/base";
import { EtcdCluster } from "../packages/cluster-manager/src/store/etcd-cluster.fixture.ts";
import { type BenchSite, startBenchSite, until } from "./site/bench-site.ts";
import { readStalls, type Stalls } from "./site/manager-stalls.ts";
import { percentile } from "./site/process-meter.ts";
import { placeOne } from "./site/takeover.ts";

const HOSTS = Number(process.env.MUSTER_BENCH_HOSTS ?? 1_000);
const VMS_PER_HOST = 20;
const RUNS = Number(process.env.MUSTER_BENCH_RUNS ?? 5);
const STORES = (process.env.MUSTER_BENCH_STORES ?? "level,etcd").split(",");
const ADDRESSES = ["127.0.71.65", "127.0.71.66", "127.0.71.67"];
const MANAGERS = ["a", "b"];
/** VMs in one request, and requests under way at once, while the site is filled. */
const REQUEST_VMS = 20;
const IN_FLIGHT = 8;
/** What a standby does once while it waits, copying and rehearsing, and a new leader until it is warm, is over by then. */
const REST_MS = 5_000;
/** All hosts are in one process on these cores: it may be slow without being dead. */
const DEAD_PEER_SECONDS = 60;
const PATIENCE_MS = 240_000;

async function main(): Promise<void> {
  process.stdout.write(
    "| store | hosts | VMs | runs | median ms | p95 ms | worst ms | load |\n|---|---|---|---|---|---|---|---|\n",
  );
  if (STORES.includes("level")) await measure("level", { kind: "level", path: "store" });
  if (!STORES.includes("etcd")) return;
  const etcd = await EtcdCluster.start({ addresses: ADDRESSES });
  try {
    await measure("etcd", { kind: "etcd", endpoints: etcd.endpoints });
  } finally {
    await etcd.stop();
  }
}

async function measure(name: string, store: object): Promise<void> {
  const extras = { managers: MANAGERS, store, deadPeerSeconds: DEAD_PEER_SECONDS };
  const site = await startBenchSite(HOSTS, 10_000, 2 * VMS_PER_HOST, extras);
  try {
    site.startHosts();
    const emptyMs = await row(site, name, 0);
    const filled = await fill(site);
    const fullMs = await row(site, name, HOSTS * VMS_PER_HOST);
    process.stdout.write(
      `\n${name}: ${HOSTS * VMS_PER_HOST} VMs add ${(fullMs - emptyMs).toFixed(0)} ms to the median. ${filled}\n\n`,
    );
  } finally {
    await site.stop();
  }
}

/** Answers the median. */
async function row(site: BenchSite, name: string, vms: number): Promise<number> {
  const took: number[] = [];
  for (let run = 0; run < RUNS; run += 1) took.push(await takeover(site, vms));
  const shares = [0.5, 0.95, 1].map((share) => percentile(took, share).toFixed(0));
  process.stdout.write(`| ${[name, HOSTS, vms, took.length, ...shares, loadavg()[0]?.toFixed(1)].join(" | ")} |\n`);
  return percentile(took, 0.5);
}

async function takeover(site: BenchSite, vms: number): Promise<number> {
  const leader = await atRest(site, vms);
  const killed = site.killManager(leader);
  const startMs = performance.now();
  const vm = await placeOne(site);
  const tookMs = performance.now() - startMs;
  await killed;
  await site.client.deleteVm(vm);
  site.startManager(leader);
  return tookMs;
}

/** All hosts are heard, all VMs run, and a standby waits; answers who leads. */
async function atRest(site: BenchSite, vms: number): Promise<string> {
  const state = async (): Promise<string | undefined> => {
    const seen = await site.client.site();
    if (!seen.ok || !seen.value.reconciled || seen.value.managers.length !== MANAGERS.length) return undefined;
    const isWhole = seen.value.hosts.alive === HOSTS && (seen.value.vms.running ?? 0) === vms;
    return isWhole ? seen.value.leader : undefined;
  };
  let leader: string | undefined;
  await until(async () => {
    leader = await state();
    if (leader === undefined) return false;
    await new Promise<void>((resolve) => systemClock.setTimer(REST_MS, resolve));
    return (await state()) === leader;
  }, PATIENCE_MS);
  return leader ?? "";
}

/** Asks for all VMs and waits until they run; answers what that was for the leader. */
async function fill(site: BenchSite): Promise<string> {
  const spec = { image: "debian-12", vcpus: 1, memoryMiB: 128, diskGiB: 1 };
  const leader = await atRest(site, 0);
  const [startMs, replaced] = [performance.now(), site.replaced()];
  await readStalls(site, leader);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < (HOSTS * VMS_PER_HOST) / REQUEST_VMS) {
      next += 1;
      const name = `fill-${next}`;
      const made = await site.client.createVms({ name, project: "bench", count: REQUEST_VMS, spec }, name);
      if (!made.ok) throw new Error(made.error.message);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  const acceptedS = (performance.now() - startMs) / 1_000;
  const stalls: Stalls[] = [];
  await until(async () => {
    await new Promise<void>((resolve) => systemClock.setTimer(1_000, resolve));
    stalls.push(...(await readStalls(site, leader)));
    const seen = await site.client.site();
    return seen.ok && (seen.value.vms.running ?? 0) >= HOSTS * VMS_PER_HOST;
  }, PATIENCE_MS);
  const runningS = (performance.now() - startMs) / 1_000;
  const worst = Math.max(...stalls.map(({ worstMs }) => worstMs)).toFixed(0);
  const p99 = percentile(
    stalls.map(({ p99Ms }) => p99Ms),
    0.5,
  ).toFixed(0);
  return (
    `While they came in: accepted after ${acceptedS.toFixed(0)} s, running after ${runningS.toFixed(0)} s; the leader's ` +
    `longest stall ${worst} ms, p99 of a typical second ${p99} ms; managers replaced: ${site.replaced() - replaced}.`
  );
}

await main();
process.exit(0);
