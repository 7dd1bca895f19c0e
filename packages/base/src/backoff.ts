import type { Rng } from "./rng.ts";

export type Backoff = {
  /** How many tries have failed so far; 0 before the first retry. */
  readonly attempt: number;
  readonly baseMs: number;
  readonly maxMs: number;
};

/**
 * How long to wait before the next try: exponential with full jitter on its upper half, so that a thousand hosts that
 * lost the same server do not come back in step.
 */
export function backoffMs({ attempt, baseMs, maxMs }: Backoff, rng: Rng): number {
  const ceilingMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return ceilingMs / 2 + (ceilingMs / 2) * rng.next();
}
