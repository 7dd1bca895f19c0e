/** `npm run torture`: a federation of real processes under faults, judged by its history. Exit: 0 held, 1 not, 2 usage. */
import { systemClock, systemRng } from "@muster/base";
import { type Options, readOptions, USAGE } from "./options.ts";
import type { TortureEnd } from "./torture.ts";

/** From the last fault to the end of everything, at most. */
const LONGEST_REST_MS = 240_000;

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), systemRng);
  if (typeof options === "string") {
    process.stderr.write(`${options}\n${USAGE}`);
    return 2;
  }
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
  // It ends by itself whatever happens: first in order, then at once.
  const cancels = [
    systemClock.setTimer(options.durationMs + LONGEST_REST_MS, () => interrupted.abort()),
    systemClock.setTimer(options.durationMs + 2 * LONGEST_REST_MS, () => process.exit(1)),
  ];
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  say(`seed ${options.seed}`);
  try {
    const { torture } = await import("./torture.ts");
    const end = await torture({ ...options, say, signal: interrupted.signal });
    process.stdout.write(`${report(options, end)}\n`);
    return end.violations.length === 0 ? 0 : 1;
  } catch (cause) {
    say(`seed ${options.seed}: ${cause instanceof Error ? cause.message : String(cause)}`);
    return 1;
  } finally {
    for (const cancel of cancels) cancel();
  }
}

function report(
  { seed, durationMs, store }: Options,
  { violations, faults, history, figures, calmMs, state }: TortureEnd,
): string {
  const count = (claims: readonly string[]): number => violations.filter(({ claim }) => claims.includes(claim)).length;
  const { asked, repeated, accepted, refused, deletes, unanswered, vms, starts, leases, terms } = figures;
  const injected = [...faults.values()].reduce((sum, one) => sum + one, 0);
  const kinds = [...faults]
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([kind, times]) => `  ${times} × ${kind}`);
  const found = violations.map(({ claim, what }) => `  ${claim}: ${what}`);
  return [
    `seed ${seed}, ${store}: ${Math.round(durationMs / 1_000)} s of load and faults, at rest ${(calmMs / 1_000).toFixed(1)} s after the last one`,
    `faults: ${injected} injected, ${terms} terms`,
    ...kinds,
    `requests: ${asked} asked and ${repeated} repeated, ${accepted} accepted, ${refused} refused, ${deletes} deletes; ${unanswered} tries without an answer, asked again`,
    `VMs: ${vms} accepted; ${figures.running} running, ${figures.deleted} deleted, ${figures.expired} expired, ${figures.refusedVms} refused in the end; ${figures.waiting} waited at rest, said why and were withdrawn; ${starts} starts seen`,
    `leases: ${leases} exchanges, ${figures.open} open in the end; ${figures.domains} domains on ${history.hosts.length} hosts in the end`,
    violations.length === 0
      ? `no violation: of ${accepted} accepted requests 0 lost, of ${starts} starts 0 doubled, of ${leases} exchanges and ${figures.domains} domains 0 orphaned`
      : `violations: ${violations.length} (lost ${count(["L3", "B1"])}, doubled ${count(["P1", "H5"])}, orphaned ${count(["P3", "B4"])}, others ${count(["P2", "P4", "H1", "H3", "supervisor"])})`,
    ...found,
    ...(violations.length === 0 ? [] : [`seed ${seed}; stores, journals and logs are in ${state}`]),
  ].join("\n");
}

process.exitCode = await main();
