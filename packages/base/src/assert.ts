/** A broken invariant: a bug of ours. The process ends and its supervisor starts it again from durable state. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Throws `InvariantError` unless `condition` holds. Stays on in production. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new InvariantError(`invariant broken: ${claim}`);
}

/** Closes a `switch` over a union: the compiler refuses when a variant is not handled. */
export function assertNever(value: never): never {
  throw new InvariantError(`unhandled variant: ${JSON.stringify(value)}`);
}
