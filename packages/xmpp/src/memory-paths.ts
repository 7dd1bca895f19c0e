import type { Clock, Rng } from "@muster/base";
import { type Address, parseAddress, prepareAddress } from "./address.ts";

/** What the network does to stanzas. Rates are probabilities in [0, 1]. */
export type MemoryFaults = {
  readonly lossRate: number;
  /** Delivered twice, each copy with a delay of its own. */
  readonly duplicateRate: number;
  /** Held back by up to `reorderWithinMs` while later ones of the same pair pass. Without it, pairs keep order. */
  readonly reorderRate: number;
  readonly reorderWithinMs: number;
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
};

export const NO_FAULTS: MemoryFaults = {
  lossRate: 0,
  duplicateRate: 0,
  reorderRate: 0,
  reorderWithinMs: 0,
  delayMinMs: 0,
  delayMaxMs: 0,
};

/** Beyond this, stanzas are lost as a network loses them, so that a run-away test ends with an error of its own (S2). */
const IN_FLIGHT_MAX = 200_000;
const PAIRS_MAX = 10_000;

type Partition = { readonly one: readonly string[]; readonly other: readonly string[]; readonly how: Passage };
type Passage = "silent" | "bounce";

/** Carries stanzas from address to address under the faults of the moment. */
export class MemoryPaths {
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #partitions = new Set<Partition>();
  /** When the last stanza of each ordered pair is due. */
  readonly #lastDueMs = new Map<string, number>();
  #faults: MemoryFaults;
  #inFlight = 0;

  constructor(options: { readonly clock: Clock; readonly rng: Rng; readonly faults: MemoryFaults }) {
    this.#clock = options.clock;
    this.#rng = options.rng;
    this.#faults = checked(options.faults);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  setFaults(faults: Partial<MemoryFaults>): void {
    this.#faults = checked({ ...this.#faults, ...faults });
  }

  partition(one: readonly string[], other: readonly string[], how: Passage): () => void {
    const partition = { one, other, how };
    this.#partitions.add(partition);
    return () => {
      this.#partitions.delete(partition);
    };
  }

  /** `undefined`: it may pass. */
  blocked(from: Address, to: Address): Passage | undefined {
    for (const { one, other, how } of this.#partitions) {
      const there = one.some((it) => addressMatches(from, it)) && other.some((it) => addressMatches(to, it));
      const back = other.some((it) => addressMatches(from, it)) && one.some((it) => addressMatches(to, it));
      if (there || back) return how;
    }
    return undefined;
  }

  /** Delivers never, once or twice, later. */
  carry(pair: string, deliver: () => void): void {
    const { lossRate, duplicateRate } = this.#faults;
    if (this.#happens(lossRate) || this.#inFlight >= IN_FLIGHT_MAX) return;
    this.#schedule(pair, deliver);
    if (this.#happens(duplicateRate)) this.#schedule(pair, deliver);
  }

  #schedule(pair: string, deliver: () => void): void {
    const { delayMinMs, delayMaxMs, reorderRate, reorderWithinMs } = this.#faults;
    const nowMs = this.#clock.nowMs();
    const dueMs = nowMs + delayMinMs + (delayMaxMs > delayMinMs ? this.#rng.next() * (delayMaxMs - delayMinMs) : 0);
    const heldBack = this.#happens(reorderRate);
    const atMs = heldBack
      ? dueMs + this.#rng.next() * reorderWithinMs
      : Math.max(dueMs, this.#lastDueMs.get(pair) ?? dueMs);
    if (!heldBack) this.#remember(pair, atMs, nowMs);
    this.#inFlight += 1;
    this.#clock.setTimer(atMs - nowMs, () => {
      this.#inFlight -= 1;
      deliver();
    });
  }

  #remember(pair: string, dueMs: number, nowMs: number): void {
    if (this.#lastDueMs.size >= PAIRS_MAX) {
      for (const [old, oldDueMs] of this.#lastDueMs) if (oldDueMs < nowMs) this.#lastDueMs.delete(old);
    }
    this.#lastDueMs.set(pair, dueMs);
  }

  /** A rate of 0 draws nothing, so that turning one fault on does not shift the others. */
  #happens(rate: number): boolean {
    return rate > 0 && this.#rng.next() < rate;
  }
}

/** Whether an address is meant by a full address, a bare one, or a domain (with all domains below it). */
export function addressMatches(address: Address, pattern: string): boolean {
  const wanted = parseAddress(pattern);
  if (wanted === undefined) return false;
  if (wanted.local === "" && wanted.resource === "") {
    return address.domain === wanted.domain || address.domain.endsWith(`.${wanted.domain}`);
  }
  const bare = address.local === wanted.local && address.domain === wanted.domain;
  return bare && (wanted.resource === "" || address.resource === wanted.resource);
}

/** The text of a parsed address. */
export function addressText({ local, domain, resource }: Address): string {
  return prepareAddress(`${local === "" ? "" : `${local}@`}${domain}${resource === "" ? "" : `/${resource}`}`);
}

function checked(faults: MemoryFaults): MemoryFaults {
  for (const [name, value] of Object.entries(faults)) {
    const rate = name.endsWith("Rate");
    if (!(value >= 0) || (rate && value > 1)) throw new RangeError(`${name} is ${value}, outside its range`);
  }
  return faults;
}
