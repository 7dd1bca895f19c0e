import { backoffMs, type Rng } from "@muster/base";

/** Restarts in a window of a minute before the supervisor gives up on a process (S2). */
export const RESTARTS_MAX = 5;
export const RESTART_WINDOW_MS = 60_000;

const BACKOFF = { baseMs: 200, maxMs: 5_000 } as const;

/** How often one process may die before it is given up: at most so often in a window, each time after a longer pause. */
export class RestartBudget {
  readonly #rng: Rng;
  #deathsMs: readonly number[] = [];

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** Books a death at `nowMs`; how long to wait before the restart, or `undefined` when there was the last one. */
  restartInMs(nowMs: number): number | undefined {
    this.#deathsMs = [...this.#deathsMs.filter((atMs) => nowMs - atMs < RESTART_WINDOW_MS), nowMs];
    if (this.#deathsMs.length > RESTARTS_MAX) return undefined;
    return backoffMs({ attempt: this.#deathsMs.length - 1, ...BACKOFF }, this.#rng);
  }
}
