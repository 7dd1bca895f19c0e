/**
 * What a large site adds to a change of the lead: 1,000 simulated hosts, first with no VM, then with 20,000; the leader is
 * killed, and a VM that is asked for afterwards is timed until it runs. Over `level`, and over an etcd of three members.
 *
 *   npm run bench -- takeover-large
 */
import { loadavg } from "node:os";
import { EtcdCluster } from "../packages/cluster-manager/src/store/etcd-cluster.fixture.ts";
import { type BenchSite, startBenchSite, until } from "./site/bench-site.ts";
import { percentile } from "./site/process-meter.ts";
import { placeOne } from "./site/takeover.ts";

const HOSTS = Number(process.env.MUSTER_BENCH_HOSTS ?? 1_000);
const VMS_PER_HOST = 20;
const RUNS = Number(process.env.MUSTER_BENCH_RUNS ?? 8);
const ADDRESSES = ["127.0.71.65", "127.0.71.66", "127.0.71.67"];
/** VMs in one request, and requests under way at once, while the site is filled. */
const REQUEST_VMS = 20;
const IN_FLIGHT = 8;

async function main(): Promise<void> {
  process.stdout.write(
    "| store | hosts | VMs | runs | median ms | p95 ms | worst ms | load |\n|---|---|---|---|---|---|---|---|\n",
  );
  await measure("level", { kind: "level", path: "store" });
  const etcd = await EtcdCluster.start({ addresses: ADDRESSES });
  try {
    await measure("etcd", { kind: "etcd", endpoints: etcd.endpoints });
  } finally {
    await etcd.stop();
  }
}

async function measure(name: string, store: object): Promise<void> {
  const site = await startBenchSite(HOSTS, 10_000, 2 * VMS_PER_HOST, { managers: ["a", "b"], store });
  try {
    site.startHosts();
    await row(site, name, 0);
    await fill(site);
    await row(site, name, HOSTS * VMS_PER_HOST);
  } finally {
    await site.stop();
  }
}

async function row(site: BenchSite, name: string, vms: number): Promise<void> {
  const took: number[] = [];
  for (let run = 0; run < RUNS; run += 1) took.push(await takeover(site));
  const shares = [0.5, 0.95, 1].map((share) => percentile(took, share).toFixed(0));
  process.stdout.write(`| ${[name, HOSTS, vms, took.length, ...shares, loadavg()[0]?.toFixed(1)].join(" | ")} |\n`);
}

async function takeover(site: BenchSite): Promise<number> {
  const leader = await atRest(site);
  const killed = site.killManager(leader);
  const startMs = performance.now();
  const vm = await placeOne(site);
  const tookMs = performance.now() - startMs;
  await killed;
  await site.client.deleteVm(vm);
  site.startManager(leader);
  return tookMs;
}

/** All hosts are heard, and a standby waits; answers who leads. */
async function atRest(site: BenchSite): Promise<string> {
  let leader = "";
  await until(async () => {
    const seen = await site.client.site();
    if (seen.ok) leader = seen.value.leader;
    return seen.ok && seen.value.reconciled && seen.value.managers.length === 2 && seen.value.hosts.alive === HOSTS;
  }, 180_000);
  // What a standby does once while it waits, copying and rehearsing, is over.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  return leader;
}

async function fill(site: BenchSite): Promise<void> {
  const spec = { image: "debian-12", vcpus: 1, memoryMiB: 128, diskGiB: 1 };
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
  await until(async () => {
    const seen = await site.client.site();
    return seen.ok && (seen.value.vms.running ?? 0) >= HOSTS * VMS_PER_HOST;
  }, 300_000);
}

await main();
process.exit(0);
