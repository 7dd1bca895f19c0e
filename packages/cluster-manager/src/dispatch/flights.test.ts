import { seededRng, uuidv7, VirtualClock } from "@muster/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Flight } from "./flight.ts";
import { Flights } from "./flights.ts";

const clock = new VirtualClock();
const rng = seededRng(41);
const newId = (): string => uuidv7(clock, rng);

function flightOf(vm: string, dueMs: number): Flight {
  const command = { id: newId(), term: 1, action: "stop", vm, attempt: 1 } as const;
  return { command, tries: 1, stage: "sent", dueMs, overtaken: false };
}

const deeds = fc.array(
  fc.record({
    deed: fc.constantFrom("set", "delete", "defer", "wait"),
    vm: fc.constantFrom("a", "b", "c", "d"),
    afterMs: fc.nat(50),
  }),
  { maxLength: 80 },
);

describe("commands under way", () => {
  it("none is due before it is said, and each is named once it is due", () => {
    fc.assert(
      fc.property(deeds, (all) => {
        const flights = new Flights();
        let nowMs = 0;
        for (const { deed, vm, afterMs } of all) {
          const known = flights.get(vm);
          if (deed === "set") flights.set(vm, flightOf(vm, nowMs + afterMs));
          else if (deed === "delete") flights.delete(vm);
          else if (deed === "defer" && known !== undefined) flights.defer(known, nowMs + afterMs);
          else nowMs += afterMs;
          const there = ["a", "b", "c", "d"].flatMap((each) => flights.get(each) ?? []);
          for (const flight of there) expect(flights.dueMs).toBeLessThanOrEqual(flight.dueMs);
          if (there.length === 0) expect(flights.dueMs).toBe(Number.POSITIVE_INFINITY);
          const due = flights.due(nowMs);
          expect(new Set(due)).toEqual(new Set(there.filter(({ dueMs }) => dueMs <= nowMs)));
          for (const flight of due) flights.defer(flight, nowMs + 10);
        }
      }),
    );
  });
});
