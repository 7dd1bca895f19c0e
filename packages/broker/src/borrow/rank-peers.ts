/**
 * How peers that would take a VM are ranked: a weighted sum of figures between 0 and 1, higher is better. Adding a figure is
 * adding a row. Pure, so that a choice can be repeated and explained.
 */
import { amountOf, NO_PRICES, RESOURCE_KINDS, type Resources, resourcesOf, type VmSpec } from "@muster/protocol";
import type { PeerState } from "./borrow-book.ts";

export const RANK_FIGURES = ["capacity", "price", "fairness", "image", "reliability", "latency"] as const;
export type RankFigure = (typeof RANK_FIGURES)[number];
export type RankWeights = Readonly<Record<RankFigure, number>>;

export const RANK_WEIGHTS: RankWeights = {
  capacity: 1,
  price: 1,
  fairness: 1,
  image: 0.25,
  reliability: 1,
  latency: 0.25,
};

const HOUR_MS = 3_600_000;
/** Answers that take so long count half. */
const LATENCY_HALF_MS = 200;

export type Ranked = {
  readonly state: PeerState;
  /** What it has free, less what we asked of it since. */
  readonly free: Resources;
  /** Exchanges of ours that are open there: they share the room among them, so that a burst goes to several peers. */
  readonly openThere: number;
  readonly spec: VmSpec;
  /** 0 where the peer owes us everything, 1 where we owe it everything, 0.5 where that is even or not known. */
  readonly favour: number;
  /** 0 to 1: how often its leases came to run. */
  readonly reliability: number;
  readonly priceMax: number;
};

const FIGURES: Readonly<Record<RankFigure, (of: Ranked) => number>> = {
  capacity({ free, openThere, spec }) {
    const wanted = resourcesOf(spec);
    const kinds = RESOURCE_KINDS.filter((kind) => wanted[kind] > 0);
    const fits = Math.min(...kinds.map((kind) => free[kind] / wanted[kind])) / (1 + openThere);
    return fits / (1 + fits);
  },
  price: ({ state, spec, priceMax }) => (priceMax === 0 ? 1 : 1 - pricePerHour(state, spec) / priceMax),
  fairness: ({ favour }) => 1 - favour,
  image: ({ state, spec }) => (state.offer?.images.includes(spec.image) ? 1 : 0),
  reliability: ({ reliability }) => reliability,
  latency: ({ state }) => LATENCY_HALF_MS / (LATENCY_HALF_MS + (state.answerMs ?? 0)),
};

/** Between 0 and 1, to six places. */
export function rankOf(of: Ranked, weights: RankWeights = RANK_WEIGHTS): number {
  let sum = 0;
  let total = 0;
  for (const name of RANK_FIGURES) {
    sum += weights[name] * FIGURES[name](of);
    total += Math.abs(weights[name]);
  }
  return total === 0 ? 0 : Math.round((sum / total) * 1e6) / 1e6;
}

/** The weights of an admin over the standing ones. Those of others than peers, in the same list, begin with no `peer-`. */
export function rankWeightsOf(set: Readonly<Record<string, number>>): RankWeights {
  const named = RANK_FIGURES.map((name) => [name, set[`peer-${name}`] ?? RANK_WEIGHTS[name]] as const);
  return { ...RANK_WEIGHTS, ...Object.fromEntries(named) };
}

/** Thousandths for an hour of such a VM, by the peer's last offer. */
export function pricePerHour({ offer }: PeerState, spec: VmSpec): number {
  return amountOf(resourcesOf(spec), offer?.prices ?? NO_PRICES, HOUR_MS);
}
