/**
 * From a user's request to the host that acts on it: 100 simulated hosts, real Prosody, durable store, HTTP API.
 * Latency runs from sending `POST /v1/vms` to the moment the host has stored and answered the start.
 *
 *   npm run bench -- placement
 */
import { randomUUID } from "node:crypto";
import { Agent, request as httpRequest } from "node:http";
import { type BenchSite, startBenchSite, until } from "./site/bench-site.ts";
import { cpuShare, percentile, readCpu, rssMiB } from "./site/process-meter.ts";

const HOSTS = 100;
const VCPUS_PER_HOST = 64;
const STEADY_PER_SECOND = 150;
const STEADY_SECONDS = 10;
const BURST_VMS = 2_000;
const BURST_IN_FLIGHT = 32;

type Timing = { sentMs: number; actedMs?: number };

async function main(): Promise<void> {
  const site = await startBenchSite(HOSTS, 5_000, VCPUS_PER_HOST);
  try {
    site.startHosts();
    await until(async () => {
      const seen = await site.client.site();
      return seen.ok && seen.value.reconciled && (seen.value.hosts.alive ?? 0) === HOSTS;
    }, 60_000);
    const acted = new Map<string, number>();
    site.onReport((report) => {
      if (report.kind === "acting") acted.set(report.vm, report.atMs);
    });
    await warmUp(site, acted);
    print("steady", `${STEADY_PER_SECOND} requests/s for ${STEADY_SECONDS} s`, await steady(site, acted));
    print("closed loop", `${BURST_VMS} requests, ${BURST_IN_FLIGHT} in flight`, await closedLoop(site, acted));
  } finally {
    await site.stop();
  }
}

type Measured = {
  readonly timings: ReadonlyMap<string, Timing>;
  readonly spanMs: number;
  readonly cpu: Record<string, number>;
  readonly rss: number;
};

async function warmUp(site: BenchSite, acted: Map<string, number>): Promise<void> {
  const timings = new Map<string, Timing>();
  for (let sent = 0; sent < 200; sent += 1) await ask(site, timings);
  await settle(timings, acted);
}

/** Open loop: a request is sent when its time has come, whatever became of the ones before. */
async function steady(site: BenchSite, acted: Map<string, number>): Promise<Measured> {
  return measure(site, acted, async (timings) => {
    const startMs = performance.now();
    const pending: Promise<void>[] = [];
    for (let sent = 0; sent < STEADY_PER_SECOND * STEADY_SECONDS; sent += 1) {
      const dueMs = startMs + (sent * 1_000) / STEADY_PER_SECOND;
      const waitMs = dueMs - performance.now();
      if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
      pending.push(ask(site, timings));
    }
    await Promise.all(pending);
  });
}

async function closedLoop(site: BenchSite, acted: Map<string, number>): Promise<Measured> {
  return measure(site, acted, async (timings) => {
    let left = BURST_VMS;
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        await ask(site, timings);
      }
    };
    await Promise.all(Array.from({ length: BURST_IN_FLIGHT }, worker));
  });
}

async function measure(
  site: BenchSite,
  acted: Map<string, number>,
  load: (timings: Map<string, Timing>) => Promise<void>,
): Promise<Measured> {
  const timings = new Map<string, Timing>();
  const pids = { ...site.pids, load: process.pid };
  const from = readCpu(pids);
  const startMs = nowMs();
  await load(timings);
  await settle(timings, acted);
  const lastMs = Math.max(...[...timings.values()].map(({ actedMs = 0 }) => actedMs));
  return { timings, spanMs: lastMs - startMs, cpu: cpuShare(from, readCpu(pids)), rss: rssMiB(site.pids.manager) };
}

async function settle(timings: Map<string, Timing>, acted: Map<string, number>): Promise<void> {
  await until(() => [...timings.keys()].every((vm) => acted.has(vm)), 60_000);
  for (const [vm, timing] of timings) timing.actedMs = acted.get(vm) ?? Number.NaN;
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** One request over a plain keep-alive connection, so that the load costs little of the two cores. */
function ask(site: BenchSite, timings: Map<string, Timing>): Promise<void> {
  const requestId = randomUUID();
  const body = JSON.stringify({
    name: `b-${requestId}`,
    spec: { image: "debian-12", vcpus: 1, memoryMiB: 1_024, diskGiB: 10 },
  });
  const sentMs = nowMs();
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      new URL("/v1/vms", site.url),
      {
        agent,
        method: "POST",
        headers: {
          authorization: `Bearer ${site.token}`,
          "content-type": "application/json",
          "idempotency-key": requestId,
        },
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          const answer = JSON.parse(text) as { vms?: { id: string }[] };
          const [vm] = answer.vms ?? [];
          if (vm === undefined) reject(new Error(`refused: ${text}`));
          else {
            timings.set(vm.id, { sentMs });
            resolve();
          }
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

function print(name: string, load: string, { timings, spanMs, cpu, rss }: Measured): void {
  const latencies = [...timings.values()].map(({ sentMs, actedMs = Number.NaN }) => actedMs - sentMs);
  const rows = [
    ["load", load],
    ["placements/s", (timings.size / (spanMs / 1_000)).toFixed(0)],
    ["p50 ms", percentile(latencies, 0.5).toFixed(1)],
    ["p99 ms", percentile(latencies, 0.99).toFixed(1)],
    ["worst ms", Math.max(...latencies).toFixed(1)],
    ...Object.entries(cpu).map(([process, share]) => [`${process} CPU % of a core`, share.toFixed(0)]),
    ["manager RSS MiB", rss.toFixed(0)],
  ];
  process.stdout.write(
    `\n| ${name} | |\n|---|---|\n${rows.map(([label, value]) => `| ${label} | ${value} |\n`).join("")}`,
  );
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

await main();
process.exit(0);
