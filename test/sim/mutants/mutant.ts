import type { Ports } from "../ports.ts";
import type { Swarm } from "../swarm.ts";

/** A federation with one rule broken, and within how many runs the checkers must notice. */
export type Mutant = {
  readonly name: string;
  /** Invariants of which one is to be the first that breaks. */
  readonly breaks: readonly string[];
  readonly withinRuns: number;
  /** Where the runs begin, if not at seed 1. */
  readonly from?: number;
  /** What the runs are like, where the rule matters in few of those that are drawn. */
  readonly like?: Partial<Swarm>;
  /** Made anew for each run: mutants may remember. */
  readonly ports: () => Ports;
};
