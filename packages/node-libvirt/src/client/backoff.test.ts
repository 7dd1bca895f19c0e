import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { reconnectDelayMs } from "./backoff.ts";

describe("waits between attempts to reconnect", () => {
  it("double from the least to the greatest", () => {
    const options = { minDelayMs: 50, maxDelayMs: 400, random: () => 0 };
    expect([0, 1, 2, 3, 4, 1_000_000].map((attempt) => reconnectDelayMs(attempt, options))).toEqual([
      50, 100, 200, 400, 400, 400,
    ]);
  });

  it("stay between half the wait and the greatest, whatever chance says", () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, chance) => {
        const waitMs = reconnectDelayMs(attempt, { random: () => chance });
        expect(waitMs).toBeGreaterThanOrEqual(25);
        expect(waitMs).toBeLessThanOrEqual(5_000);
      }),
    );
  });
});
