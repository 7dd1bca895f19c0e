import { Overloaded } from "../fault.ts";

/** Jobs one domain may have waiting. */
const WAITING_MAX = 64;

/** Gives the turn to the next in line. Calling it again does nothing. */
export type Release = () => void;

/** Someone in line: told when the turn comes, or gone. */
interface Waiter {
  readonly start: () => void;
}

/** The line of one key: whether someone has the turn, and who waits for it. */
interface Line {
  readonly waiting: Set<Waiter>;
}

/**
 * One job at a time per domain, in the order of the calls. libvirt runs the calls of one connection side by side, so
 * an unawaited `suspend` and `resume` could change places without this.
 */
export class DomainOrder {
  readonly #lines = new Map<string, Line>();

  /** Domains with a job under way. */
  get busy(): number {
    return this.#lines.size;
  }

  /**
   * Waits for the turn of `key`. `expire` is given a function that leaves the line and tells whether that was in time.
   * Throws {@link Overloaded} where the line is full.
   */
  enter(key: string): { readonly turn: Promise<Release>; readonly leave: () => boolean } {
    const line = this.#lines.get(key);
    if (line === undefined) {
      const fresh: Line = { waiting: new Set() };
      this.#lines.set(key, fresh);
      return { turn: Promise.resolve(this.#release(key, fresh)), leave: () => false };
    }
    if (line.waiting.size >= WAITING_MAX) throw new Overloaded(`domain ${key}`, WAITING_MAX);
    let start: () => void = () => {};
    const turn = new Promise<Release>((resolve) => {
      start = () => resolve(this.#release(key, line));
    });
    const waiter: Waiter = { start };
    line.waiting.add(waiter);
    return { turn, leave: () => line.waiting.delete(waiter) };
  }

  #release(key: string, line: Line): Release {
    let done = false;
    return () => {
      if (done) return;
      done = true;
      const [next] = line.waiting;
      if (next === undefined) {
        this.#lines.delete(key);
        return;
      }
      line.waiting.delete(next);
      next.start();
    };
  }
}
