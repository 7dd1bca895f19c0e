import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  forgive,
  GRAVE_REMEMBERED_MAX,
  newConduct,
  noteOffence,
  notePromise,
  reliabilityOf,
  suspensionBy,
} from "./conduct.ts";

const RULE = { offences: 3, withinMs: 60_000 };
const bad = (count: number) => ({ offence: "signature", message: "bad-signature", count }) as const;

describe("conduct of a peer", () => {
  it("counts one that was never tried like one that always kept its word", () => {
    let conduct = newConduct("beta.test");
    expect(reliabilityOf(conduct)).toBe(1);
    for (let index = 0; index < 50; index += 1) conduct = notePromise(conduct, true);
    expect(reliabilityOf(conduct)).toBeCloseTo(1);
  });

  it("lowers the score with each broken promise, forgives with each kept one, and stays between 0 and 1", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (promises) => {
        let conduct = newConduct("beta.test");
        for (const kept of promises) {
          const next = notePromise(conduct, kept);
          if (!kept) expect(reliabilityOf(next)).toBeLessThan(reliabilityOf(conduct));
          else expect(reliabilityOf(next)).toBeGreaterThanOrEqual(reliabilityOf(conduct) - 1e-12);
          conduct = next;
        }
        expect(reliabilityOf(conduct)).toBeGreaterThan(0);
        expect(reliabilityOf(conduct)).toBeLessThanOrEqual(1);
        expect(conduct.kept + conduct.broken).toBe(promises.length);
      }),
    );
  });

  it("suspends by the rule that an admin set, and says why", () => {
    let conduct = newConduct("beta.test");
    expect(suspensionBy(undefined, noteOffence(conduct, bad(900), 1), 1)).toBeUndefined();
    conduct = noteOffence(conduct, bad(2), 1_000);
    expect(suspensionBy(RULE, conduct, 1_000)).toBeUndefined();
    conduct = noteOffence(conduct, bad(1), 2_000);
    expect(suspensionBy(RULE, conduct, 2_000)).toBe(
      "by rule: 3 false signatures or receipts within 60 s, last: bad-signature",
    );
    expect(suspensionBy(RULE, forgive(conduct), 2_000)).toBeUndefined();
  });

  it("counts only what came within the period", () => {
    const conduct = noteOffence(noteOffence(newConduct("beta.test"), bad(2), 0), bad(2), 90_000);
    expect(suspensionBy(RULE, conduct, 90_000)).toBeUndefined();
  });

  it("suspends for no flood and for nothing malformed: both happen to the honest", () => {
    let conduct = noteOffence(newConduct("beta.test"), { offence: "flood", message: "m", count: 500 }, 1);
    conduct = noteOffence(conduct, { offence: "malformed", message: "m", count: 500 }, 1);
    expect(suspensionBy(RULE, conduct, 1)).toBeUndefined();
    expect(conduct.offences).toMatchObject({ flood: 500, malformed: 500, signature: 0 });
  });

  it("S2: remembers a bounded number of times, and a message of one bounded line", () => {
    let conduct = newConduct("beta.test");
    for (let index = 0; index < 5; index += 1)
      conduct = noteOffence(conduct, { offence: "receipt", message: `a\n${"x".repeat(900)}`, count: 10_000 }, index);
    expect(conduct.graveAtMs.length).toBe(GRAVE_REMEMBERED_MAX);
    expect(conduct.last?.message).toMatch(/^a x+$/);
    expect(conduct.last?.message.length).toBe(300);
  });
});
