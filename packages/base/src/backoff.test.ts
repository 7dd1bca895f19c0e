import fc from "fast-check";
import { expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";
import { VirtualClock } from "./clock.ts";
import { seededRng, systemRng } from "./rng.ts";
import { uuidv7 } from "./uuid.ts";

it("backoff grows, stays within its bound, and never goes below half of its step", () => {
  fc.assert(
    fc.property(
      fc.nat(100),
      fc.integer({ min: 1, max: 1_000 }),
      fc.integer({ min: 1, max: 60_000 }),
      fc.integer(),
      (attempt, baseMs, maxMs, seed) => {
        const waitMs = backoffMs({ attempt, baseMs, maxMs }, seededRng(seed));
        const ceilingMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
        expect(waitMs).toBeGreaterThanOrEqual(ceilingMs / 2);
        expect(waitMs).toBeLessThanOrEqual(ceilingMs);
      },
    ),
  );
});

it("a seeded stream repeats itself and stays in range", () => {
  const [one, two] = [seededRng(7), seededRng(7)];
  for (let draw = 0; draw < 1_000; draw += 1) {
    const value = one.next();
    expect(two.next()).toBe(value);
    expect(value >= 0 && value < 1).toBe(true);
    expect(one.int(6)).toBe(two.int(6));
  }
});

it("UUIDs are version 7, ordered by time, and all different", () => {
  const clock = new VirtualClock();
  const ids = Array.from({ length: 100 }, () => {
    clock.advance(1);
    return uuidv7(clock, systemRng);
  });
  expect(new Set(ids).size).toBe(100);
  expect([...ids].sort()).toEqual(ids);
  expect(ids.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/.test(id))).toBe(true);
});
