import { describe, expect, it } from "vitest";
import { EventRing } from "./event-ring.ts";

const event = (message: string) => ({ kind: "vm", subject: "a", message }) as const;

function ringOf(count: number): EventRing {
  const ring = new EventRing(3, 10);
  for (let index = 0; index < count; index += 1) ring.push(event(String(index)), "2026-01-01T00:00:00.000Z");
  return ring;
}

describe("the ring of events", () => {
  it("gives ids that grow within a term and from term to term", () => {
    const ids = ringOf(3)
      .after(0)
      .events.map(({ view }) => view.id);
    expect(ids).toEqual([3_000_000_000, 3_000_000_001, 3_000_000_002]);
    expect(new EventRing(4).after(0).events).toEqual([]);
  });

  it("S2: keeps no more than its bound, and says when something before is gone", () => {
    const ring = ringOf(35);
    const { events, missed } = ring.after(3_000_000_002);
    expect(events.map(({ view }) => view.message)).toEqual(
      Array.from({ length: 10 }, (_, index) => String(25 + index)),
    );
    expect(missed).toBe(true);
    expect(ring.after(3_000_000_024)).toMatchObject({ missed: false });
    expect(ring.after(3_000_000_034)).toEqual({ events: [], missed: false });
  });

  it("says that events of an earlier term may be missed", () => {
    expect(ringOf(1).after(2_000_000_007)).toMatchObject({ missed: true, events: [{ view: { message: "0" } }] });
  });

  it("tells followers until they unfollow", () => {
    const ring = ringOf(0);
    const heard: string[] = [];
    const unfollow = ring.follow(({ view }) => void heard.push(view.message));
    ring.push(event("one"), "2026-01-01T00:00:00.000Z");
    unfollow();
    ring.push(event("two"), "2026-01-01T00:00:00.000Z");
    expect(heard).toEqual(["one"]);
  });
});
