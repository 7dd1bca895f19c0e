/** One run of a federation from its seed, and what is said when an invariant did not hold in it. */
import { ALL_CHECKERS } from "./checkers/all.ts";
import type { Figures } from "./figures.ts";
import { NO_MUTATION, type Ports } from "./ports.ts";
import { describe, type Swarm, swarmOf } from "./swarm.ts";
import { Violation } from "./violation.ts";
import { World } from "./world.ts";

export type RunEnd = {
  readonly seed: number;
  readonly figures: Figures;
  readonly steps: number;
  /** Of everything that happened, in its order. */
  readonly digest: string;
  readonly violation: Violation | undefined;
  /** What happened before the violation. */
  readonly trace: readonly string[];
  readonly swarm: Swarm;
};

const TRACE_LINES = 40;
const ABOUT_LINES = 25;

/** Runs the federation of that seed. The same seed and ports make the same run; `like` says what it is to be like. */
export function run(seed: number, ports: Ports = NO_MUTATION, like: Partial<Swarm> = {}): RunEnd {
  const swarm = { ...swarmOf(seed), ...like };
  const world = new World(swarm, ports, ALL_CHECKERS);
  let violation: Violation | undefined;
  try {
    world.run();
  } catch (cause) {
    violation = cause instanceof Violation ? cause : new Violation("a core threw", String((cause as Error).stack));
  }
  const trace = violation === undefined ? [] : world.trace.lines(TRACE_LINES);
  if (violation?.about !== undefined) {
    trace.unshift(`about ${violation.about}:`, ...world.trace.lines(ABOUT_LINES, violation.about), "at the end:");
  }
  return {
    seed,
    figures: world.figures,
    steps: world.timeline.steps,
    digest: world.trace.digest(),
    violation,
    trace,
    swarm,
  };
}

/** Everything that somebody needs who is to find out why. */
export function report({ seed, steps, violation, trace, swarm }: RunEnd): string {
  if (violation === undefined) return `seed ${seed}: every invariant held in ${steps} steps`;
  return [
    `seed ${seed}, step ${steps}: ${violation.message}`,
    describe(swarm),
    ...trace.map((line) => `  ${line}`),
    `replay: npm run sim -- --seed ${seed} --runs 1`,
  ].join("\n");
}
