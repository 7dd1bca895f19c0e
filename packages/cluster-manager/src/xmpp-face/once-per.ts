import type { Clock } from "@muster/base";

/** Says yes once a key within an interval; remembers a bounded number of keys, and says no when it cannot (S2). */
export class OncePer {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #keysMax: number;
  readonly #lastMs = new Map<string, number>();

  constructor(clock: Clock, everyMs: number, keysMax = 1_000) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#keysMax = keysMax;
  }

  isDue(key: string): boolean {
    const nowMs = this.#clock.nowMs();
    const lastMs = this.#lastMs.get(key);
    if (lastMs !== undefined && nowMs - lastMs < this.#everyMs) return false;
    if (lastMs === undefined && this.#lastMs.size >= this.#keysMax) {
      for (const [old, oldMs] of this.#lastMs) if (nowMs - oldMs >= this.#everyMs) this.#lastMs.delete(old);
      if (this.#lastMs.size >= this.#keysMax) return false;
    }
    this.#lastMs.set(key, nowMs);
    return true;
  }
}
