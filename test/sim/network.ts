/** Carries messages between the parts of a federation: late, twice, out of order, or not at all. */
import type { Rng } from "@muster/base";
import type { Figures } from "./figures.ts";
import type { Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";

export class Network {
  /** No faults any more: every message arrives once, soon and in order. */
  healed = false;
  /** Directions in which nothing passes, until when: `<from>><to>`; one with `*` cuts an end off altogether. */
  readonly #cuts = new Map<string, number>();
  readonly #lastAtMs = new Map<string, number>();
  readonly #timeline: Timeline;
  readonly #rng: Rng;
  readonly #swarm: Swarm;
  readonly #figures: Figures;

  constructor(timeline: Timeline, rng: Rng, swarm: Swarm, figures: Figures) {
    this.#timeline = timeline;
    this.#rng = rng;
    this.#swarm = swarm;
    this.#figures = figures;
  }

  /** Nothing passes in this direction for a time. */
  cut(from: string, to: string, durationMs: number): void {
    this.#cuts.set(`${from}>${to}`, this.#timeline.nowMs + durationMs);
  }

  heal(): void {
    this.healed = true;
    this.#cuts.clear();
  }

  isCut(from: string, to: string): boolean {
    if (this.#cuts.size === 0) return false;
    return [`${from}>${to}`, `*>${to}`, `${from}>*`].some((way) => (this.#cuts.get(way) ?? 0) > this.#timeline.nowMs);
  }

  send(from: string, to: string, deliver: () => void): void {
    if (!this.healed && this.#chance(this.#swarm.loss)) {
      this.#figures.lost += 1;
      return;
    }
    this.#carry(from, to, deliver, 0);
    if (!this.healed && this.#chance(this.#swarm.duplicates)) {
      this.#figures.duplicated += 1;
      const { reorders, lateMs } = this.#swarm;
      this.#carry(from, to, deliver, reorders ? this.#rng.int(lateMs) : 0);
    }
  }

  #carry(from: string, to: string, deliver: () => void, laterMs: number): void {
    if (this.isCut(from, to)) return;
    const { delayMs, lateChance, lateMs, reorders } = this.#swarm;
    let atMs = this.#timeline.nowMs + laterMs + 1 + this.#rng.int(this.healed ? 2 : 1 + delayMs);
    if (!this.healed && this.#chance(lateChance)) atMs += this.#rng.int(lateMs);
    const way = `${from}>${to}`;
    if (!reorders || this.healed) {
      atMs = Math.max(atMs, this.#lastAtMs.get(way) ?? 0);
      this.#lastAtMs.set(way, atMs);
    }
    this.#timeline.after(atMs - this.#timeline.nowMs, () => {
      if (!this.isCut(from, to)) deliver();
    });
  }

  #chance(share: number): boolean {
    return share > 0 && this.#rng.next() < share;
  }
}
