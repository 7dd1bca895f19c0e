import { assert } from "./assert.ts";

/** Cancels a timer; calling it again, or after the timer fired, does nothing. */
export type CancelTimer = () => void;

/** Time as the managers see it: injected, so that decisions can be driven by a test or a simulator. */
export type Clock = {
  /** Monotonic milliseconds since an arbitrary start. For deadlines, leases and liveness. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch. For people and logs only: it may jump. */
  wallMs(): number;
  /** Calls `fire` once after `delayMs`. A timer that is set keeps the process alive: cancel it when you stop. */
  setTimer(delayMs: number, fire: () => void): CancelTimer;
};

/** The machine's clock. `performance.now()` does not go back when an admin sets the date. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};

type Timer = { readonly dueMs: number; readonly order: number; readonly fire: () => void };

/** A clock that moves only when told to; timers fire in order of due time, then of creation. */
export class VirtualClock implements Clock {
  #nowMs: number;
  #order = 0;
  readonly #wallOffsetMs: number;
  readonly #timers = new Set<Timer>();

  constructor(startMs = 0, wallStartMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
    this.#wallOffsetMs = wallStartMs - startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  setTimer(delayMs: number, fire: () => void): CancelTimer {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves time on by `durationMs`, firing everything due on the way, also what those timers set. */
  advance(durationMs: number): void {
    assert(durationMs >= 0, "a virtual clock never goes back");
    const endMs = this.#nowMs + durationMs;
    for (let next = this.#next(); next !== undefined && next.dueMs <= endMs; next = this.#next()) {
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fire();
    }
    this.#nowMs = endMs;
  }

  /** When the next timer is due, or `undefined` when none is set. */
  nextDueMs(): number | undefined {
    return this.#next()?.dueMs;
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (
        first === undefined ||
        timer.dueMs < first.dueMs ||
        (timer.dueMs === first.dueMs && timer.order < first.order)
      )
        first = timer;
    }
    return first;
  }
}
