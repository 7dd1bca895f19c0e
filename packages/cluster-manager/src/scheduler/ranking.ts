import { refusedBy } from "./filters.ts";
import type { Demand, HostOption } from "./host-option.ts";
import type { Decision } from "./schedule.ts";
import { scoreOf, type Weights } from "./scores.ts";

/** What one host is worth to the demand; a host that is looked at again leaves its old seat, which counts no more. */
type Seat = { readonly name: string; readonly score: number; readonly refusal: string | undefined; taken: boolean };

/** Seats that were left and still lie in the heap, beside those that count, before it is built anew (S2). */
const LEFT_SEATS_MAX = 256;

/**
 * All hosts in the order in which they suit one demand, kept up host by host: what `schedule` says of them, without looking
 * at those again that did not change.
 */
export class Ranking {
  readonly #demand: Demand;
  readonly #weights: Weights;
  readonly #seats = new Map<string, Seat>();
  readonly #refused = new Map<string, number>();
  /** The best one first; those that left are dropped when they come up. */
  #heap: Seat[] = [];
  #possible = 0;

  constructor(demand: Demand, weights: Weights) {
    this.#demand = demand;
    this.#weights = weights;
  }

  /** A host that is new, or not what it was. */
  put(host: HostOption): void {
    this.drop(host.name);
    const refusal = refusedBy(this.#demand, host)?.reason;
    const score = refusal === undefined ? scoreOf(this.#demand, host, this.#weights) : 0;
    const seat: Seat = { name: host.name, score, refusal, taken: true };
    this.#seats.set(host.name, seat);
    if (refusal === undefined) {
      this.#possible += 1;
      this.#push(seat);
    } else this.#refused.set(refusal, (this.#refused.get(refusal) ?? 0) + 1);
  }

  drop(name: string): void {
    const seat = this.#seats.get(name);
    if (seat === undefined) return;
    this.#seats.delete(name);
    seat.taken = false;
    if (seat.refusal === undefined) {
      this.#possible -= 1;
      return;
    }
    const left = (this.#refused.get(seat.refusal) ?? 1) - 1;
    if (left === 0) this.#refused.delete(seat.refusal);
    else this.#refused.set(seat.refusal, left);
  }

  decision(): Decision {
    while (this.#heap[0]?.taken === false) this.#pop();
    const tally = { possible: this.#possible, refused: new Map(this.#refused) };
    const [best] = this.#heap;
    return best === undefined ? { kind: "none", tally } : { kind: "host", host: best.name, score: best.score, tally };
  }

  #push(seat: Seat): void {
    if (this.#heap.length >= 2 * this.#possible + LEFT_SEATS_MAX) {
      // In order, which is a heap too.
      this.#heap = this.#heap.filter(({ taken }) => taken).sort((left, right) => (isBetter(left, right) ? -1 : 1));
    }
    const heap = this.#heap;
    let at = heap.push(seat) - 1;
    while (at > 0) {
      const above = (at - 1) >>> 1;
      const other = heap[above];
      if (other === undefined || !isBetter(seat, other)) break;
      heap[at] = other;
      at = above;
    }
    heap[at] = seat;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
      const isRight = right !== undefined && left !== undefined && isBetter(right, left);
      const better = isRight ? right : left;
      if (better === undefined || !isBetter(better, last)) break;
      heap[at] = better;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }
}

/** The order of `schedule`: the higher score, then the name. */
function isBetter(left: Seat, right: Seat): boolean {
  return left.score > right.score || (left.score === right.score && left.name < right.name);
}
