import { setImmediate as giveWay } from "node:timers/promises";
import type { Clock } from "@muster/base";

/** Work in one go: no longer than this may beats, links and callers wait for their turn. */
export const SLICE_MS = 20;

/** Cuts long work into slices, between which the process sees to everything else. */
export class Slices {
  readonly #clock: Clock;
  #fromMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#fromMs = clock.nowMs();
  }

  /** Whether the slice is used up. */
  get isOver(): boolean {
    return this.#clock.nowMs() - this.#fromMs >= SLICE_MS;
  }

  /** Something else had its turn just now. */
  begin(): void {
    this.#fromMs = this.#clock.nowMs();
  }

  /** Gives way, where the slice is used up, and begins the next one. */
  async breathe(): Promise<void> {
    if (!this.isOver) return;
    await giveWay();
    this.begin();
  }
}
