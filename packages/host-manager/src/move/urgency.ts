/**
 * The priority of this process while guests are on the move through it: among guests that keep every processor busy, a relay
 * that waits for its turn makes the move, and the guest's pause at its end, many times as long.
 */
import { constants, getPriority, setPriority } from "node:os";

const URGENT = constants.priority.PRIORITY_ABOVE_NORMAL;

export class Urgency {
  readonly #moves = new Set<string>();
  #usual: number | undefined;

  begin(move: string): void {
    this.#moves.add(move);
    if (this.#moves.size > 1) return;
    this.#usual = getPriority();
    change(Math.min(this.#usual, URGENT));
  }

  end(move: string): void {
    if (!this.#moves.delete(move) || this.#moves.size > 0 || this.#usual === undefined) return;
    change(this.#usual);
  }
}

/** Whoever may not have more of the processors has what is theirs. */
function change(priority: number): void {
  try {
    setPriority(priority);
  } catch {
    return;
  }
}
