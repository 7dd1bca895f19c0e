import { randomBytes } from "node:crypto";
import { assert } from "./assert.ts";

/** Chance as the managers see it: injected, one stream a purpose, so that a run can be replayed from its seed. */
export type Rng = {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, below). */
  int(below: number): number;
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
};

/** The operating system's randomness: unguessable, for ids and secrets. */
export const systemRng: Rng = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  int: (below) => Math.floor(systemRng.next() * below),
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

/** A repeatable stream (splitmix32 by Sebastiano Vigna's construction): for tests, simulation and jitter. */
export function seededRng(seed: number): Rng {
  let state = seed >>> 0;
  const word = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  const next = (): number => word() / 2 ** 32;
  return {
    next,
    int: (below) => {
      assert(below > 0, "int needs a positive bound");
      return Math.floor(next() * below);
    },
    bytes: (length) => Uint8Array.from({ length }, () => word() & 0xff),
  };
}
