import { seededRng } from "@muster/base";
import { describe, expect, it } from "vitest";
import { RESTART_WINDOW_MS, RESTARTS_MAX, RestartBudget } from "./restart-budget.ts";

describe("RestartBudget", () => {
  it("S2: allows so many restarts in a window, each after a longer pause at most, then none", () => {
    const budget = new RestartBudget(seededRng(1));
    const pauses = Array.from({ length: RESTARTS_MAX }, (_, death) => budget.restartInMs(death * 1_000));
    for (const [death, pauseMs] of pauses.entries()) {
      expect(pauseMs).toBeGreaterThan(0);
      expect(pauseMs).toBeLessThanOrEqual(Math.min(5_000, 200 * 2 ** death));
    }
    expect(budget.restartInMs(RESTARTS_MAX * 1_000)).toBeUndefined();
  });

  it("forgets deaths that are over a window ago: a part that dies once a day is kept for ever", () => {
    const budget = new RestartBudget(seededRng(1));
    for (let death = 0; death < 100; death += 1)
      expect(budget.restartInMs(death * RESTART_WINDOW_MS)).toBeLessThanOrEqual(200);
  });
});
