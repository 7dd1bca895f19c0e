import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VirtualClock } from "./clock.ts";

describe("VirtualClock", () => {
  it("fires timers in order of due time, then of creation, and shows each its own time", () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    const at = (name: string) => () => fired.push(`${name}@${clock.nowMs()}`);
    clock.setTimer(20, at("late"));
    clock.setTimer(10, at("first"));
    clock.setTimer(10, at("second"));
    clock.advance(15);
    expect(fired).toEqual(["first@10", "second@10"]);
    clock.advance(5);
    expect(fired).toEqual(["first@10", "second@10", "late@20"]);
  });

  it("fires what a timer sets when it falls due in the same advance", () => {
    const clock = new VirtualClock();
    let fired = 0;
    const again = (): void => {
      fired += 1;
      clock.setTimer(10, again);
    };
    clock.setTimer(10, again);
    clock.advance(100);
    expect(fired).toBe(10);
  });

  it("a cancelled timer never fires", () => {
    const clock = new VirtualClock();
    let fired = false;
    const cancel = clock.setTimer(1, () => {
      fired = true;
    });
    cancel();
    clock.advance(10);
    expect(fired).toBe(false);
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("never goes back, whatever is asked of it", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000)), (steps) => {
        const clock = new VirtualClock(5);
        let last = clock.nowMs();
        for (const step of steps) {
          clock.advance(step);
          expect(clock.nowMs()).toBe(last + step);
          last = clock.nowMs();
        }
        expect(() => clock.advance(-1)).toThrow(/never goes back/);
      }),
    );
  });
});
