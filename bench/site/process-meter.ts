/** CPU time and memory of other processes, from /proc (proc(5)). */
import { readFileSync } from "node:fs";

/** Linux counts CPU time for user space in hundredths of a second (USER_HZ). */
const TICK_MS = 10;

export type Reading = { readonly atMs: number; readonly cpuMs: Readonly<Record<string, number>> };

export function readCpu(pids: Readonly<Record<string, number>>): Reading {
  const cpuMs = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuMsOf(pid)]));
  return { atMs: performance.now(), cpuMs };
}

/** Share of one core that each process took between two readings, as per cent. */
export function cpuShare(from: Reading, to: Reading): Record<string, number> {
  const spanMs = to.atMs - from.atMs;
  return Object.fromEntries(
    Object.entries(to.cpuMs).map(([name, cpuMs]) => [name, (100 * (cpuMs - (from.cpuMs[name] ?? 0))) / spanMs]),
  );
}

/** Resident memory in MiB. */
export function rssMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}

function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** The value below which the given part of the sorted values lies. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
