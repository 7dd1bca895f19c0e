/** Virtual time: what is to happen, in order of time and then of planning. Nothing here waits. */
import { claim } from "./violation.ts";

/** Ten times what a run takes: a federation that talks in circles is stopped. */
const STEPS_MAX = 120_000;

type Planned = { readonly atMs: number; readonly order: number; readonly act: () => void };

export class Timeline {
  nowMs = 0;
  /** How many things have happened: the step of a trace. */
  steps = 0;
  #order = 0;
  readonly #heap: Planned[] = [];

  after(delayMs: number, act: () => void): void {
    this.#order += 1;
    this.#push({ atMs: this.nowMs + Math.max(0, delayMs), order: this.#order, act });
  }

  /** Has everything happen up to that time. */
  runUntil(endMs: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= endMs; next = this.#heap[0]) {
      this.#pop();
      this.nowMs = next.atMs;
      this.steps += 1;
      claim(this.steps < STEPS_MAX, "P3", () => `no end after ${STEPS_MAX} steps: something is said over and over`);
      next.act();
    }
    this.nowMs = endMs;
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(planned);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent];
      if (above === undefined || isBefore(above, planned)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = planned;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const first = heap[left];
      if (first === undefined) break;
      const second = heap[left + 1];
      const child = second !== undefined && isBefore(second, first) ? left + 1 : left;
      const below = child === left ? first : (second ?? first);
      if (isBefore(last, below)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(left: Planned, right: Planned): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}
