import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock } from "@muster/base";

/** What was long ago says nothing of how busy this process is. */
const WINDOW_MS = 5_000;
const RESOLUTION_MS = 10;
const NS_PER_MS = 1e6;

/** How long this process lately left what happened to it lying about: the worst of the last 5 to 10 seconds. */
export class LoopLag {
  readonly #clock: Clock;
  readonly #delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #fromMs: number;
  #beforeMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#fromMs = clock.nowMs();
    this.#delays.enable();
  }

  worstMs(): number {
    const nowMs = this.#clock.nowMs();
    const lastMs = Math.max(0, Math.round(this.#delays.max / NS_PER_MS) - RESOLUTION_MS);
    const worstMs = Math.max(this.#beforeMs, lastMs);
    if (nowMs - this.#fromMs >= WINDOW_MS) {
      this.#beforeMs = nowMs - this.#fromMs >= 2 * WINDOW_MS ? 0 : lastMs;
      this.#fromMs = nowMs;
      this.#delays.reset();
    }
    return worstMs;
  }

  stop(): void {
    this.#delays.disable();
  }
}
