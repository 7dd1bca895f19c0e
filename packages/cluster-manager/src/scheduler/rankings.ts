import type { Demand, HostOption } from "./host-option.ts";
import { Ranking } from "./ranking.ts";
import { type Decision, schedule } from "./schedule.ts";
import type { Weights } from "./scores.ts";

/** Demands whose ranking is kept; the one that was not asked for longest goes first (S2). */
const RANKINGS_MAX = 16;

type Optioned = { option(): HostOption };
type Kept = { readonly ranking: Ranking; readonly touched: Set<string> };

/**
 * Decides like `schedule`, for a site that says which hosts have changed: VMs that ask for the same, one after the other or
 * again and again, cost no look at hosts that are as they were.
 */
export class Rankings {
  readonly #weights: Weights;
  readonly #kept = new Map<string, Kept>();

  constructor(weights: Weights) {
    this.#weights = weights;
  }

  /** The host is new, gone, or its option is another. */
  touched(host: string): void {
    for (const { touched } of this.#kept.values()) touched.add(host);
  }

  /** The best of all hosts. */
  decide(demand: Demand, hosts: ReadonlyMap<string, Optioned>): Decision {
    // Whom a VM avoids, or may not be placed on, is its own matter, and passes.
    if ((demand.avoid?.size ?? 0) > 0 || demand.barred !== undefined)
      return schedule(demand, optionsOf(hosts), this.#weights);
    const { ranking, touched } = this.#find(demand, hosts);
    for (const name of touched) {
      const host = hosts.get(name);
      if (host === undefined) ranking.drop(name);
      else ranking.put(host.option());
    }
    touched.clear();
    return ranking.decision();
  }

  #find(demand: Demand, hosts: ReadonlyMap<string, Optioned>): Kept {
    // Everything but whom it avoids, which is nobody.
    const { avoid: _, ...wish } = demand;
    const key = JSON.stringify(wish);
    const known = this.#kept.get(key);
    const kept = known ?? { ranking: new Ranking(demand, this.#weights), touched: new Set(hosts.keys()) };
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    for (const oldest of this.#kept.keys()) if (this.#kept.size > RANKINGS_MAX) this.#kept.delete(oldest);
    return kept;
  }
}

function* optionsOf(hosts: ReadonlyMap<string, Optioned>): Generator<HostOption> {
  for (const host of hosts.values()) yield host.option();
}
