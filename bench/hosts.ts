/**
 * What hosts cost a manager that has nothing else to do: 100 and 1,000 simulated hosts with a heartbeat of 5 s over real
 * Prosody: memory, CPU, and how long a host's first presence takes to be in the inventory.
 *
 *   npm run bench -- hosts
 */
import { startBenchSite, until } from "./site/bench-site.ts";
import { cpuShare, percentile, readCpu, rssMiB } from "./site/process-meter.ts";

const HEARTBEAT_MS = 5_000;
const IDLE_MS = 20_000;

type Row = readonly [label: string, ...values: string[]];

async function measure(hosts: number): Promise<readonly string[]> {
  const site = await startBenchSite(hosts, HEARTBEAT_MS, 32);
  try {
    const announcedMs = new Map<string, number>();
    const heardMs = new Map<string, number>();
    site.onReport((report) => {
      if (report.kind === "announced") announcedMs.set(report.host, report.atMs);
    });
    const abort = new AbortController();
    void followHosts(site.client.events(abort.signal), heardMs);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const startMs = nowMs();
    site.startHosts();
    await until(async () => {
      const seen = await site.client.site();
      return seen.ok && (seen.value.hosts.alive ?? 0) === hosts;
    }, 240_000);
    const allMs = nowMs() - startMs;
    await new Promise((resolve) => setTimeout(resolve, HEARTBEAT_MS));
    const from = readCpu(site.pids);
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    const cpu = cpuShare(from, readCpu(site.pids));
    abort.abort();
    const delays = [...heardMs].flatMap(([host, atMs]) => {
      const sentMs = announcedMs.get(host);
      return sentMs === undefined ? [] : [atMs - sentMs];
    });
    return [
      String(hosts),
      (allMs / 1_000).toFixed(1),
      percentile(delays, 0.5).toFixed(1),
      percentile(delays, 0.99).toFixed(1),
      rssMiB(site.pids.manager).toFixed(0),
      (cpu.manager ?? 0).toFixed(1),
      (cpu.prosody ?? 0).toFixed(1),
      rssMiB(site.pids.prosody).toFixed(0),
    ];
  } finally {
    await site.stop();
  }
}

async function followHosts(
  events: AsyncIterable<{ kind: string; subject: string }>,
  heardMs: Map<string, number>,
): Promise<void> {
  for await (const { kind, subject } of events)
    if (kind === "host" && !heardMs.has(subject)) heardMs.set(subject, nowMs());
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

const LABELS = [
  "hosts",
  "all in inventory after s",
  "presence to inventory p50 ms",
  "p99 ms",
  "manager RSS MiB",
  "manager CPU % of a core",
  "Prosody CPU % of a core",
  "Prosody RSS MiB",
];

const columns = [await measure(100), await measure(1_000)];
const rows: Row[] = LABELS.map((label, index) => [label, ...columns.map((column) => column[index] ?? "")]);
process.stdout.write(
  rows.map((row, index) => `| ${row.join(" | ")} |\n${index === 0 ? "|---|---|---|\n" : ""}`).join(""),
);
process.exit(0);
