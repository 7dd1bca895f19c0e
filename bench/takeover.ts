/**
 * How long nobody can place: two sites of two managers each over `level` stores, real Prosody servers, three hosts with
 * libvirt each. From the fault until the first VM that was asked for after it runs, 30 runs of each fault.
 *
 *   npm run bench -- takeover
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { systemClock, systemRng, uuidv7 } from "@muster/base";
import { DEFAULT_WISH, Federation, planFederation, type SiteRun } from "@muster/federation";
import { until } from "./site/bench-site.ts";
import { percentile } from "./site/process-meter.ts";

const RUNS = Number(process.env.MUSTER_BENCH_RUNS ?? 30);
/** How long a manager that ended stays down. */
const DOWN_MS = 1_500;
const FAULTS = ["kill", "hang", "step-down"] as const;
type Fault = (typeof FAULTS)[number];

async function main(): Promise<void> {
  const folder = mkdtempSync("/tmp/mb");
  chmodSync(folder, 0o711);
  const plan = planFederation({ ...DEFAULT_WISH, loopback: 101, hostVcpus: 64 });
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
    const [site] = started.value.sites;
    if (site === undefined) throw new Error("the federation has no site");
    process.stdout.write("| fault | runs | median ms | p95 ms | worst ms |\n|---|---|---|---|---|\n");
    for (const fault of FAULTS) {
      const took: number[] = [];
      for (let run = 0; run < RUNS; run += 1) took.push(await takeover(site, fault));
      const cells = [fault, took.length, ...[0.5, 0.95, 1].map((share) => percentile(took, share).toFixed(0))];
      process.stdout.write(`| ${cells.join(" | ")} |\n`);
    }
  } finally {
    await started.value.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** From the fault until a VM that was asked for after it runs: its host took the order and said so. */
async function takeover(site: SiteRun, fault: Fault): Promise<number> {
  await until(async () => {
    const seen = await site.client.site();
    return seen.ok && seen.value.reconciled && seen.value.managers.length === 2 && seen.value.hosts.alive === 3;
  }, 30_000);
  const leader = site.managers.get((await site.leader()) ?? "");
  if (leader === undefined) throw new Error("nobody leads");
  const startMs = performance.now();
  if (fault === "kill") leader.crash(DOWN_MS);
  if (fault === "hang") leader.hang(DOWN_MS);
  if (fault === "step-down") await site.client.stepDown();
  const vm = await placeOne(site);
  const tookMs = performance.now() - startMs;
  await site.client.deleteVm(vm);
  // The next fault meets a site at rest.
  await until(async () => {
    const seen = await site.client.vm(vm);
    return !seen.ok || seen.value.phase === "deleted";
  }, 30_000);
  return tookMs;
}

/** Asks all managers again and again under one request id, as short as can be, and waits until the VM runs. */
async function placeOne(site: SiteRun): Promise<string> {
  const requestId = `bench-${uuidv7(systemClock, systemRng)}`;
  const spec = { image: "debian-12", vcpus: 1, memoryMiB: 128, diskGiB: 1 };
  const accepted = await site.client.createVms({ name: requestId.slice(0, 60), project: "bench", spec }, requestId);
  if (!accepted.ok) throw new Error(accepted.error.message);
  const [id] = accepted.value.vms.map((vm) => vm.id);
  if (id === undefined) throw new Error("no VM was made");
  for (;;) {
    const vm = await site.client.vm(id);
    if (vm.ok && vm.value.phase === "running") return id;
    await new Promise<void>((resolve) => systemClock.setTimer(5, resolve));
  }
}

await main();
process.exit(0);
