/** An invariant does not hold: which one, and what was seen. */
export class Violation extends Error {
  readonly invariant: string;
  /** What the trace is to be searched for: a VM, an exchange, a request. */
  readonly about: string | undefined;

  constructor(invariant: string, message: string, about?: string) {
    super(`${invariant}: ${message}`);
    this.name = "Violation";
    this.invariant = invariant;
    this.about = about;
  }
}

/** Throws where the claim does not hold; the message is made only then. */
export function claim(holds: boolean, invariant: string, message: () => string, about?: string): asserts holds {
  if (!holds) throw new Violation(invariant, message(), about);
}
