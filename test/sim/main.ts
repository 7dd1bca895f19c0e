/** `npm run sim`: runs federations of one seed after the other, says what they came to, and stops at a violation. */
import { parseArgs } from "node:util";
import { addFigures, type Figures, noFigures } from "./figures.ts";
import { report, run } from "./run.ts";

const USAGE = "usage: npm run sim -- [--seed N] [--runs N] [--minutes M]\n";
const PROGRESS_MS = 10_000;

function main(): number {
  const { seed, runs, minutes } = options();
  const startMs = performance.now();
  const endMs = minutes === undefined ? Number.POSITIVE_INFINITY : startMs + minutes * 60_000;
  const sum = noFigures();
  let toldMs = startMs;
  for (let index = 0; index < runs && performance.now() < endMs; index += 1) {
    const end = run(seed + index);
    if (end.violation !== undefined) {
      process.stdout.write(`${report(end)}\n`);
      return 1;
    }
    addFigures(sum, end.figures);
    if (performance.now() - toldMs < PROGRESS_MS) continue;
    toldMs = performance.now();
    process.stderr.write(`${index + 1} runs, seed ${seed + index}\n`);
  }
  process.stdout.write(`${summary(seed, sum, (performance.now() - startMs) / 1_000)}\n`);
  return 0;
}

function options(): { readonly seed: number; readonly runs: number; readonly minutes: number | undefined } {
  try {
    const { values } = parseArgs({
      options: { seed: { type: "string" }, runs: { type: "string" }, minutes: { type: "string" } },
    });
    const minutes = values.minutes === undefined ? undefined : numberOf("minutes", values.minutes);
    const runs = values.runs === undefined ? (minutes === undefined ? 100 : Number.POSITIVE_INFINITY) : undefined;
    return { seed: numberOf("seed", values.seed ?? "1"), runs: runs ?? numberOf("runs", values.runs ?? "1"), minutes };
  } catch (cause) {
    process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n${USAGE}`);
    process.exit(2);
  }
}

function numberOf(name: string, text: string): number {
  const number = Number(text);
  if (!Number.isFinite(number) || number < 0 || text.trim() === "") throw new Error(`--${name} must be a number`);
  return number;
}

function kinds({ byKind }: Figures): string {
  const counts = Object.entries(byKind).sort(([left], [right]) => (left < right ? -1 : 1));
  return counts.map(([kind, count]) => `${count} ${kind}`).join(", ");
}

function summary(seed: number, sum: Figures, seconds: number): string {
  const hours = sum.virtualMs / 3_600_000;
  return [
    `${sum.runs} runs from seed ${seed}, ${sum.steps} steps, ${hours.toFixed(1)} h of virtual time in ${seconds.toFixed(1)} s`,
    `faults: ${sum.faults} injected, ${sum.crashesAtWrites} crashes at writes, ${sum.lost} messages lost, ${sum.duplicated} doubled, ${sum.terms} terms`,
    `by kind: ${kinds(sum)}`,
    `requests: ${sum.requested} made, ${sum.accepted} accepted, ${sum.refused} refused; ${sum.deleted} deletes, ${sum.started} VMs started, ${sum.leased} leased`,
    `no violation: of ${sum.accepted} accepted requests 0 lost (P3), of ${sum.started} VMs started 0 doubled (P1, H5), of ${sum.leased} leases 0 orphaned (B4, B7)`,
    `moves: ${sum.movesBegun} begun, ${sum.moved} VMs moved alive, ${sum.movedBetween} of them between sites, ` +
      `${sum.movesGivenUp} moves given up, none in two places (P1)`,
    `deals: ${sum.deals} deeds of admins, ${sum.thefts} uses of retired keys; ${sum.agreed} receipts agreed, ${sum.disputed} disputed, the same on both sides (B6)`,
    `operations: ${sum.operationsAsked} asked, ${sum.operationsDone} done, each once (H2)`,
    `leases: ${sum.endedByHosts} ended by hosts themselves`,
    `counted, not refused: ${sum.overstayed} leases that a host which could not act ended late`,
  ].join("\n");
}

process.exitCode = main();
