/** The wishes: each score is between 0 and 1, weighted by name, and only compares hosts that passed every filter. */
import type { Demand, HostOption } from "./host-option.ts";

type Score = (demand: Demand, host: HostOption) => number;

/** Share that stays free after placing: the emptier host wins, which keeps the load balanced. */
function balance(kind: "vcpus" | "memoryMiB" | "diskGiB"): Score {
  return (demand, host) => (host.size[kind] === 0 ? 0 : (host.free[kind] - demand.resources[kind]) / host.size[kind]);
}

const SCORES = {
  vcpus: balance("vcpus"),
  memory: balance("memoryMiB"),
  disk: balance("diskGiB"),
  /** A host that has the image starts at once. */
  image: (demand, host) => (demand.images.some((name) => host.images.has(name)) ? 1 : 0),
  affinity: (demand, host) => (demand.affinity !== undefined && host.affinity.has(demand.affinity) ? 1 : 0),
  /** Fewer VMs a host: less is lost with it. */
  spread: (_, host) => 1 / (1 + host.vms),
  /** Hosts with GPUs are kept for those who need them. */
  gpus: (demand, host) => (host.size.gpus === 0 || demand.resources.gpus > 0 ? 1 : 0),
} satisfies Readonly<Record<string, Score>>;

export type ScoreName = keyof typeof SCORES;
export const SCORE_NAMES = Object.keys(SCORES).filter((name): name is ScoreName => name in SCORES);

/** What a score weighs where the site's policy does not say. */
export const DEFAULT_WEIGHTS: Readonly<Record<ScoreName, number>> = {
  vcpus: 1,
  memory: 1,
  disk: 0.5,
  image: 1,
  affinity: 4,
  spread: 0.25,
  gpus: 2,
};

export type Weights = readonly (readonly [ScoreName, number])[];

/** The weights of a policy, checked names only: a name that is no score weighs nothing. */
export function weightsOf(policy: Readonly<Record<string, number>>): Weights {
  return SCORE_NAMES.map((name) => [name, Object.hasOwn(policy, name) ? (policy[name] ?? 0) : DEFAULT_WEIGHTS[name]]);
}

/** Weighted sum, rounded so that equal hosts stay equal whatever the order of adding. */
export function scoreOf(demand: Demand, host: HostOption, weights: Weights): number {
  let sum = 0;
  for (const [name, weight] of weights) if (weight !== 0) sum += weight * SCORES[name](demand, host);
  return Math.round(sum * 1e6) / 1e6;
}
