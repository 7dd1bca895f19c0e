import type { TunnelOrder } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { initialState } from "../core/state.ts";
import { step } from "../core/step.ts";
import { contentOf } from "../journal/entry.ts";
import { testPolicy } from "../testing/core-world.ts";
import { uuid } from "../testing/fixture.ts";
import { openOrder } from "./testing/two-sites.ts";

function taken(state: ReturnType<typeof initialState>, order: TunnelOrder) {
  return step(state, [{ kind: "tunnel", ticket: 1, order }], { nowMs: 0 });
}

describe("an order about a tunnel", () => {
  const empty = contentOf([]);
  if (!empty.ok) throw new Error(empty.error);
  const start = initialState(empty.value, testPolicy(), uuid(1), 0);

  it("H1: is carried out once its term is stored, and never under a lower one", () => {
    const obeyed = taken(start, openOrder({ term: 7 }));
    expect(obeyed.changes).toMatchObject([{ kind: "head", head: { term: 7 } }]);
    expect(obeyed.effects.filter(({ kind }) => kind === "tunnel")).toHaveLength(1);
    const stale = taken(obeyed.state, openOrder({ term: 6 }));
    expect(stale.effects.filter(({ kind }) => kind === "tunnel")).toEqual([]);
    expect(stale.effects).toContainEqual(
      expect.objectContaining({ kind: "answer", answer: expect.objectContaining({ kind: "refused" }) }),
    );
  });
});
