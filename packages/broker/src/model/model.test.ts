import { describe, expect, it } from "vitest";
import { Federation, type Run } from "./federation.fixture.ts";

const SEEDS = Number(process.env.MUSTER_MODEL_RUNS ?? 300);
const ONLY = process.env.MUSTER_MODEL_SEED;

describe("one borrower and two lenders over a bad line, with crashes", () => {
  it("P1, P3, B1 to B5: keeps its invariants after every step, and every want comes to an end", {
    timeout: 20_000 + SEEDS * 40,
  }, () => {
    const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(ONLY)];
    const total = { steps: 0, leased: 0, notPlaced: 0 };
    for (const seed of seeds) {
      const { steps, leased, notPlaced } = runSeed(seed);
      total.steps += steps;
      total.leased += leased;
      total.notPlaced += notPlaced;
    }
    // A model in which nothing happens proves nothing.
    expect(total.steps).toBeGreaterThan(seeds.length * 300);
    expect(total.leased).toBeGreaterThan(seeds.length);
    if (ONLY === undefined) expect(total.notPlaced).toBeGreaterThan(0);
  });
});

function runSeed(seed: number): Run {
  try {
    return new Federation(seed).run();
  } catch (cause) {
    const replay = `MUSTER_MODEL_SEED=${seed} npx vitest run --project unit packages/broker/src/model`;
    throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}; replay: ${replay}`, {
      cause,
    });
  }
}
