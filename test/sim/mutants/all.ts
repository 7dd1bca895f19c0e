/** Every mutant, each caught by the checkers within a stated number of runs. */
import { BURST_MUTANTS } from "./burst-mutants.ts";
import { DEAL_MUTANTS } from "./deal-mutants.ts";
import { HOST_MUTANTS } from "./host-mutants.ts";
import { LEADER_MUTANTS } from "./leader-mutants.ts";
import { MOVE_MUTANTS } from "./move-mutants.ts";
import type { Mutant } from "./mutant.ts";

export const MUTANTS: readonly Mutant[] = [
  ...LEADER_MUTANTS,
  ...HOST_MUTANTS,
  ...BURST_MUTANTS,
  ...MOVE_MUTANTS,
  ...DEAL_MUTANTS,
];
