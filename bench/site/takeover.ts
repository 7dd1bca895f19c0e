/** How long nobody can place when the lead changes hands: a federation of two sites, and a fault at a time. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { systemClock, systemRng, uuidv7 } from "@muster/base";
import type { SiteClient } from "@muster/client";
import { DEFAULT_WISH, Federation, type FederationWish, planFederation, type SiteRun } from "@muster/federation";
import { until } from "./bench-site.ts";
import { percentile } from "./process-meter.ts";

export type Fault = "kill" | "hang" | "step-down" | "kill, with etcd's leader";

const RUNS = Number(process.env.MUSTER_BENCH_RUNS ?? 30);
/** How long a process that was ended stays down. */
const DOWN_MS = 1_500;
const HOSTS = 3;

/** Each fault 30 times on a site at rest; prints one row a fault. */
export async function measureTakeovers(wish: Partial<FederationWish>, faults: readonly Fault[]): Promise<void> {
  const folder = mkdtempSync("/tmp/mb");
  chmodSync(folder, 0o711);
  const plan = planFederation({ ...DEFAULT_WISH, ...wish, hostsPerSite: HOSTS, hostVcpus: 64 });
  if (!plan.ok) throw new Error(plan.error);
  const started = await Federation.start({
    plan: plan.value,
    stateRoot: folder,
    fresh: true,
    clock: systemClock,
    rng: systemRng,
    progress: () => {},
    onFatal: ({ name, logTail }) => process.stderr.write(`${name} cannot be kept running: ${logTail}\n`),
    signal: new AbortController().signal,
  });
  if (!started.ok) throw new Error(started.error);
  try {
    process.stdout.write("| fault | runs | median ms | p95 ms | worst ms | load |\n|---|---|---|---|---|---|\n");
    for (const fault of faults) {
      const took: number[] = [];
      for (let run = 0; run < RUNS; run += 1) took.push(await takeover(started.value, fault));
      const shares = [0.5, 0.95, 1].map((share) => percentile(took, share).toFixed(0));
      process.stdout.write(`| ${[fault, took.length, ...shares, loadavg()[0]?.toFixed(1)].join(" | ")} |\n`);
    }
  } finally {
    await started.value.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** From the fault until a VM that was asked for after it runs: its host took the order and said so. */
async function takeover(federation: Federation, fault: Fault): Promise<number> {
  const [site] = federation.sites;
  if (site === undefined) throw new Error("the federation has no site");
  await atRest(federation, site);
  const leader = site.managers.get((await site.leader()) ?? "");
  if (leader === undefined) throw new Error("nobody leads");
  const member = federation.etcd?.members.get((await federation.etcd.leader()) ?? "");
  const startMs = performance.now();
  if (fault === "kill, with etcd's leader") member?.crash(DOWN_MS);
  if (fault === "hang") leader.hang(DOWN_MS);
  else if (fault === "step-down") await site.client.stepDown();
  else leader.crash(DOWN_MS);
  const vm = await placeOne(site);
  const tookMs = performance.now() - startMs;
  // Over etcd nobody ends a leader that hangs: it finds out by itself once it goes on.
  leader.resume();
  await site.client.deleteVm(vm);
  await until(async () => {
    const seen = await site.client.vm(vm);
    return !seen.ok || seen.value.phase === "deleted";
  }, 30_000);
  return tookMs;
}

/** For the standby to see whom it watches, before the fault. */
const REST_MS = 500;

/** One leads, one waits, all hosts are heard, and all members of etcd take part. */
async function atRest(federation: Federation, site: SiteRun): Promise<void> {
  await until(async () => {
    const members = (await federation.etcd?.statuses()) ?? [];
    if (members.some((status) => status === undefined || status.leader === "0")) return false;
    const seen = await site.client.site();
    return seen.ok && seen.value.reconciled && seen.value.managers.length === 2 && seen.value.hosts.alive === HOSTS;
  }, 60_000);
  await new Promise<void>((resolve) => systemClock.setTimer(REST_MS, resolve));
}

/** Asks all managers again and again under one request id, as short as can be, and waits until the VM runs. */
export async function placeOne({ client }: { readonly client: SiteClient }): Promise<string> {
  const requestId = `bench-${uuidv7(systemClock, systemRng)}`;
  const spec = { image: "debian-12", vcpus: 1, memoryMiB: 128, diskGiB: 1 };
  const accepted = await client.createVms({ name: requestId.slice(0, 60), project: "bench", spec }, requestId);
  if (!accepted.ok) throw new Error(accepted.error.message);
  const [id] = accepted.value.vms.map((vm) => vm.id);
  if (id === undefined) throw new Error("no VM was made");
  for (;;) {
    const vm = await client.vm(id);
    if (vm.ok && vm.value.phase === "running") return id;
    await new Promise<void>((resolve) => systemClock.setTimer(10, resolve));
  }
}
