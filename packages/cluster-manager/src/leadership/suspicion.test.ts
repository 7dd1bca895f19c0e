import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BeatPolicy, type BeatSign, type Suspicion, takeSign, verdictOf, watchFrom } from "./suspicion.ts";

const POLICY: BeatPolicy = { everyMs: 100, misses: 4, hangMs: 1_000, absentMs: 10_000 };

/** Beats from..to, each with these signs. */
function beats(state: Suspicion, from: number, to: number, ...kinds: BeatSign["kind"][]): Suspicion {
  let next = state;
  for (let beat = from; beat <= to; beat += 1)
    for (const kind of kinds) next = takeSign(next, { beat, kind, lagMs: 0 });
  return next;
}

describe("what beats say of the leader", () => {
  it("suspects nobody who answers", () => {
    expect(verdictOf(beats(watchFrom(0), 1, 50, "echoed", "answered"), POLICY)).toBe("calm");
  });

  it("suspects after four missed beats, takes it for hung after a second, and is calm at the next answer", () => {
    const heard = beats(watchFrom(0), 1, 10, "echoed", "answered");
    expect(verdictOf(beats(heard, 11, 13, "echoed"), POLICY)).toBe("calm");
    expect(verdictOf(beats(heard, 11, 14, "echoed"), POLICY)).toBe("suspected");
    const hung = beats(heard, 11, 20, "echoed");
    expect(verdictOf(hung, POLICY)).toBe("hung");
    expect(verdictOf(beats(hung, 20, 20, "answered"), POLICY)).toBe("calm");
  });

  it("takes a late answer for a sign of life: a leader that answers each beat a second late is not suspected", () => {
    let state = beats(watchFrom(0), 1, 10, "echoed", "answered");
    for (let beat = 11; beat <= 60; beat += 1) {
      state = takeSign(state, { beat, kind: "echoed" });
      if (beat > 13) state = takeSign(state, { beat: Math.max(11, beat - 10), kind: "answered", lagMs: 0 });
      expect(verdictOf(state, POLICY)).toBe("calm");
    }
    expect(verdictOf(beats(state, 61, 64, "echoed"), POLICY)).toBe("suspected");
  });

  it("waits longer for a leader that says it is busy, in bounded time, and no longer than that when it is not any more", () => {
    const busy = takeSign(beats(watchFrom(0), 1, 10, "echoed"), { beat: 10, kind: "answered", lagMs: 300 });
    expect(verdictOf(beats(busy, 11, 19, "echoed"), POLICY)).toBe("calm");
    expect(verdictOf(beats(busy, 11, 20, "echoed"), POLICY)).toBe("suspected");
    expect(verdictOf(beats(busy, 11, 26, "echoed"), POLICY)).toBe("hung");
    const jammed = takeSign(busy, { beat: 10, kind: "answered", lagMs: 60_000 });
    expect(verdictOf(beats(jammed, 11, 39, "echoed"), POLICY)).toBe("suspected");
    expect(verdictOf(beats(jammed, 11, 40, "echoed"), POLICY)).toBe("hung");
    expect(verdictOf(beats(beats(jammed, 11, 11, "echoed", "answered"), 12, 15, "echoed"), POLICY)).toBe("suspected");
  });

  it("suspects nobody as long as its own beats do not come back: the server or our own link is what hangs", () => {
    const heard = beats(watchFrom(0), 1, 10, "echoed", "answered");
    expect(verdictOf(heard, POLICY)).toBe("calm");
    fc.assert(
      fc.property(
        fc.array(fc.record({ beat: fc.nat(500), kind: fc.constant("answered" as const), lagMs: fc.nat(500) })),
        (signs) => {
          let state = watchFrom(0);
          for (const sign of signs) {
            state = takeSign(state, sign);
            expect(verdictOf(state, POLICY)).toBe("calm");
          }
        },
      ),
    );
  });

  it("takes the server's word that nobody is there at once, and ends a leader only after it was away for long", () => {
    const heard = beats(watchFrom(0), 1, 10, "echoed", "answered");
    expect(verdictOf(beats(heard, 11, 11, "absent", "echoed"), POLICY)).toBe("absent");
    expect(verdictOf(beats(heard, 11, 110, "absent", "echoed"), POLICY)).toBe("absent");
    const away = beats(heard, 11, 111, "absent", "echoed");
    expect(verdictOf(away, POLICY)).toBe("hung");
    expect(verdictOf(beats(away, 112, 112, "answered", "echoed"), POLICY)).toBe("calm");
  });

  it("does not take a leader for gone that the server never had since the watch began: its link may yet come", () => {
    const again = beats(watchFrom(100), 101, 150, "absent", "echoed");
    expect(verdictOf(again, POLICY)).toBe("unseen");
    const back = beats(again, 151, 152, "answered", "echoed");
    expect(verdictOf(back, POLICY)).toBe("calm");
    expect(verdictOf(beats(back, 153, 153, "absent", "echoed"), POLICY)).toBe("absent");
    expect(verdictOf(beats(again, 151, 201, "absent", "echoed"), POLICY)).toBe("hung");
  });

  it("lets nothing from before a new leader, or from before our link was back, count", () => {
    const again = watchFrom(100);
    expect(beats(again, 1, 99, "echoed", "absent")).toEqual(again);
    expect(verdictOf(beats(again, 101, 103, "echoed"), POLICY)).toBe("calm");
  });

  it("is not moved by the order in which answers come", () => {
    const signs: BeatSign[] = Array.from({ length: 30 }, (_, index) => ({
      beat: 1 + Math.floor(index / 2),
      kind: index % 2 === 0 ? ("echoed" as const) : ("answered" as const),
      lagMs: 0,
    }));
    fc.assert(
      fc.property(fc.shuffledSubarray(signs, { minLength: 30 }), (shuffled) => {
        expect(shuffled.reduce(takeSign, watchFrom(0))).toEqual(signs.reduce(takeSign, watchFrom(0)));
      }),
    );
  });
});
