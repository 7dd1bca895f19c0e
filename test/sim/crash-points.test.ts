import { describe, expect, it } from "vitest";
import { CRASH_POINTS, type CrashPoint } from "./crash-points.ts";
import { report, run } from "./run.ts";

/** Runs from seed 1 until the point was struck so often, in so many runs at most. */
const STRIKES = 20;
const RUNS_MAX = 150;
/** Struck again and again nothing would ever get done. */
const STRIKES_PER_RUN = 3;
const EVERY = 3;

/** Aims at the point: strikes the first time that it is reached, and some of the times after that. */
function aimedAt(point: CrashPoint): { strikes: number; runs: number } {
  let [strikes, runs] = [0, 0];
  while (strikes < STRIKES && runs < RUNS_MAX) {
    runs += 1;
    let [reached, aimed, struck] = [0, 0, 0];
    const end = run(
      runs,
      {
        strikes(world, moment) {
          if (!point.isAt(moment) || aimed === STRIKES_PER_RUN) return "no";
          reached += 1;
          if (reached % EVERY !== 1) return "no";
          aimed += 1;
          const hit = (): void => {
            struck += 1;
          };
          if (point.strike === undefined) hit();
          else point.strike(world, moment, hit);
          return point.strike === undefined ? "ends" : "no";
        },
      },
      point.swarm,
    );
    if (end.violation !== undefined) expect.fail(`${point.name}:\n${report(end)}`);
    strikes += struck;
  }
  return { strikes, runs };
}

describe("the end of a process at each point where it writes or sends", () => {
  it.each(CRASH_POINTS)("$name: is reached and survived; $closedBy", (point) => {
    expect(aimedAt(point).strikes).toBeGreaterThanOrEqual(STRIKES);
  });

  it("each has a name of its own, and there are at least twenty", () => {
    expect(new Set(CRASH_POINTS.map(({ name }) => name)).size).toBe(CRASH_POINTS.length);
    expect(CRASH_POINTS.length).toBeGreaterThanOrEqual(20);
  });
});
