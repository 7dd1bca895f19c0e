/** Node's timers hold 31 bits of milliseconds; anything longer would fire at once. */
const TIMER_MS_MAX = 0x7fff_ffff;

/** A timer that can be taken back. */
export interface DeadlineTimer {
  clear(): void;
}

/** Calls `passed` after `timeoutMs`; never where that is `Infinity`. */
export function deadlineTimer(timeoutMs: number, passed: () => void): DeadlineTimer {
  if (timeoutMs === Number.POSITIVE_INFINITY) return { clear() {} };
  const timer = setTimeout(passed, Math.min(Math.max(0, timeoutMs), TIMER_MS_MAX));
  return { clear: () => clearTimeout(timer) };
}

/** A fixed point in time, for steps that share one deadline. */
export class Deadline {
  readonly #atMs: number;

  constructor(timeoutMs: number) {
    this.#atMs = performance.now() + timeoutMs;
  }

  /** Whole milliseconds left, at least 0. */
  leftMs(): number {
    return Math.max(0, Math.ceil(this.#atMs - performance.now()));
  }
}
