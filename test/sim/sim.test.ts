import { describe, expect, it } from "vitest";
import { CRASH_POINTS } from "./crash-points.ts";
import { LATE_START_MS } from "./mutants/host-mutants.ts";
import { report, run } from "./run.ts";
import { DEALS_FROM_SEED, MOVES_FROM_SEED } from "./swarm.ts";

const FIXED_SEEDS = 40;
/** Seeds that once broke an invariant: of the cores, or of the simulator itself. */
const KEPT_SEEDS = [7, 1_023, 1_117, 1_455, 2_018, 2_097, 2_379, 2_587, 7_415, 21_951, 102_647, 201_141, 304_802];
/** Runs with live moves in them; and such as once broke an invariant. */
const MOVE_SEEDS = [...Array(8).keys()].map((index) => MOVES_FROM_SEED + index);
const KEPT_MOVE_SEEDS = [
  3_000_003, 3_000_022, 3_000_047, 3_000_092, 3_000_190, 3_000_254, 3_000_307, 3_000_359, 3_000_381, 3_001_523,
  3_002_092, 3_002_298, 3_500_213, 3_500_442, 41_000_155, 60_000_004, 60_000_041, 60_000_262, 60_000_569, 1_797_000_376,
];
/** Runs with books, peerings by record, lender rules and operations; and such as once broke an invariant. */
const DEAL_SEEDS = [...Array(12).keys()].map((index) => DEALS_FROM_SEED + index);
const KEPT_DEAL_SEEDS = [5_000_020, 5_000_067, 5_000_076, 5_000_170, 5_000_559, 5_000_814];
const FRESH_WITHIN_MS = 2_000;

function expectClean(seed: number): void {
  const end = run(seed);
  if (end.violation !== undefined) expect.fail(report(end));
}

describe("whole federations on a virtual clock", () => {
  it("L1-L4, H1-H5, P1-P4, B1-B5, B7 hold for fixed seeds", () => {
    for (let seed = 1; seed <= FIXED_SEEDS; seed += 1) expectClean(seed);
  });

  it("hold for the seeds of faults that were found and mended", () => {
    for (const seed of KEPT_SEEDS) expectClean(seed);
  });

  it("P1, L3, P3: live moves, with every fault there is, leave each VM in one place and nothing behind", () => {
    let moved = 0;
    for (const seed of [...MOVE_SEEDS, ...KEPT_MOVE_SEEDS]) {
      const end = run(seed);
      if (end.violation !== undefined) expect.fail(report(end));
      moved += end.figures.moved;
    }
    expect(moved).toBeGreaterThan(10);
  });

  it("B5, B6, H2: books, peerings by record, lender rules and operations, with every fault there is, leave both sides agreed", () => {
    const sum = { agreed: 0, disputed: 0, operationsDone: 0, deals: 0 };
    for (const seed of [...DEAL_SEEDS, ...KEPT_DEAL_SEEDS]) {
      const end = run(seed);
      if (end.violation !== undefined) expect.fail(report(end));
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += end.figures[key];
    }
    expect(Math.min(sum.agreed, sum.disputed, sum.operationsDone, sum.deals)).toBeGreaterThan(10);
  });

  // Another try would draw other seeds, and hide what this one found.
  it("hold for seeds that nobody has tried yet", { retry: 0 }, () => {
    const startMs = performance.now();
    const first = 1_000_000 + Math.floor(Date.now() / 1_000);
    for (let seed = first; performance.now() - startMs < FRESH_WITHIN_MS; seed += 1) expectClean(seed);
  });

  it("H2, H5: every start that arrives again, late, does no harm", () => {
    for (let seed = 1; seed <= FIXED_SEEDS / 2; seed += 1)
      expect(run(seed, { repeatsStartsAfterMs: LATE_START_MS }).violation?.message).toBeUndefined();
  });

  it("B4: hosts end what they lent by themselves when no manager of their site ever comes back in time", () => {
    const point = CRASH_POINTS.find(({ name }) => name === "lender: every manager gone while it lends");
    const calm = { ...point?.swarm, faults: [], managersGone: false, crashAtWrite: 0 };
    let [gone, ended] = [0, 0];
    for (let seed = 1; seed <= 5; seed += 1) {
      let aimed = false;
      const end = run(
        seed,
        {
          strikes(world, moment) {
            if (aimed || point?.isAt(moment) !== true) return "no";
            aimed = true;
            point.strike?.(world, moment, () => {
              gone += 1;
            });
            return "no";
          },
        },
        calm,
      );
      expect(end.violation?.message).toBeUndefined();
      ended += end.figures.endedByHosts;
    }
    expect(gone).toBeGreaterThan(2);
    expect(ended).toBeGreaterThan(2);
  });

  it("the same seed replays identically, step by step", () => {
    for (const seed of [3, 21, 33]) {
      const [first, second] = [run(seed), run(seed)];
      expect(second.digest).toBe(first.digest);
      expect(second.figures).toEqual(first.figures);
    }
    expect(run(3).digest).not.toBe(run(21).digest);
  });

  it("a violation names seed and step, shows the trace around it and the command that replays it", () => {
    const end = run(1, { answersBeforeCommit: true });
    expect(end.violation?.invariant).toBe("L3");
    const text = report(end);
    expect(text).toContain(`seed 1, step ${end.steps}: L3:`);
    expect(text).toContain("replay: npm run sim -- --seed 1 --runs 1");
    expect(end.trace.length).toBeGreaterThan(10);
    expect(report(run(1, { answersBeforeCommit: true }))).toBe(text);
  });

  it("a run has everything in it that it is to show: faults, take-overs, bursts, crashes at writes", () => {
    const ends = Array.from({ length: 12 }, (_, index) => run(index + 20).figures);
    const all = (key: Exclude<keyof (typeof ends)[number], "byKind">): number =>
      ends.reduce((sum, figures) => sum + figures[key], 0);
    for (const key of [
      "faults",
      "crashesAtWrites",
      "lost",
      "duplicated",
      "accepted",
      "deleted",
      "started",
      "leased",
    ] as const)
      expect(all(key), key).toBeGreaterThan(10);
    expect(all("terms")).toBeGreaterThan(ends.length * 4);
  });
});
