import { describe, expect, it } from "vitest";
import { MUTANTS } from "./mutants/all.ts";
import { run } from "./run.ts";

describe("the checkers can fail: a rule broken on purpose is noticed", () => {
  it.each(MUTANTS)("$breaks: $name, within $withinRuns runs", ({ breaks, withinRuns, ports, like, from = 1 }) => {
    for (let seed = from; seed < from + withinRuns; seed += 1) {
      const { violation } = run(seed, ports(), like);
      if (violation === undefined) continue;
      expect(breaks).toContain(violation.invariant);
      return;
    }
    expect.fail(`${withinRuns} runs noticed nothing`);
  });

  it("there are at least fifteen of them", () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(15);
  });
});
