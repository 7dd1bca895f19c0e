import { describe, expect, it } from "vitest";
import { type CountedModule, closingLine, tally } from "../../scripts/tally.mjs";

function moduleOf(states: readonly string[], errors = 0, suiteErrors = 0): CountedModule {
  return {
    errors: () => new Array(errors).fill({}),
    children: {
      allSuites: () => [{ errors: () => new Array(suiteErrors).fill({}) }],
      allTests: () => states.map((state) => ({ result: () => ({ state }) })),
    },
  };
}

describe("tally", () => {
  it("counts each outcome over all files", () => {
    const counts = tally([moduleOf(["passed", "failed", "passed"]), moduleOf(["skipped", "passed", "pending"])], []);
    expect(counts).toEqual({ passed: 3, failed: 1, skipped: 2 });
  });

  it("counts a file that cannot be loaded, a failed hook and an error outside of tests as failures", () => {
    expect(tally([moduleOf([], 1), moduleOf(["passed"], 0, 1)], [new Error("late")]).failed).toBe(3);
  });
});

describe("closingLine", () => {
  it("names skipped tests only when there are any", () => {
    expect(closingLine({ passed: 7, failed: 0, skipped: 0 }, 0)).toEqual({ line: "7 passed, 0 failed", exitCode: 0 });
    expect(closingLine({ passed: 7, failed: 0, skipped: 2 }, 0).line).toBe("7 passed, 0 failed, 2 skipped");
  });

  it("never reports success for a run that broke off", () => {
    expect(closingLine(null, 134)).toEqual({ line: "0 passed, 1 failed", exitCode: 134 });
    expect(closingLine({ passed: 3, failed: 0, skipped: 0 }, 1)).toEqual({ line: "3 passed, 1 failed", exitCode: 1 });
  });

  it("fails when a test failed, whatever the exit code says", () => {
    expect(closingLine({ passed: 1, failed: 2, skipped: 0 }, 0).exitCode).toBe(1);
  });
});
