import type { PeerMove } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { holdOf } from "../broker.fixture.ts";
import { ask, env, held, heldOf, lease, leased, PEER, release } from "./lender.fixture.ts";
import { createLender } from "./lender.ts";

const MOVE = "0190a7b2-0000-7000-8000-00000000000a";
const stepOf = (id: string, step: PeerMove["step"] = "finish"): PeerMove => ({ id, term: 1, move: MOVE, step });

describe("lender: steps of a move between the sites", () => {
  it("B5: hands a step of a leased VM to its site, with the exchange, and answers nothing by itself", () => {
    const lender = createLender();
    const { id } = heldOf(ask(lender, { kind: "hold", body: holdOf({ incoming: true }) }));
    ask(lender, lease(id));
    const request = { kind: "move-step", body: stepOf(id) } as const;
    const { effects, changes } = lender.step({ kind: "request", peer: PEER, ticket: 9, request }, env());
    expect(changes).toEqual([]);
    expect(effects).toMatchObject([
      { kind: "move", ticket: 9, record: { id, hold: { incoming: true } }, step: { step: "finish" } },
    ]);
  });

  it("B5: refuses a step of what is unknown, only held, or over", () => {
    const lender = createLender();
    const step = (id: string) => ask(lender, { kind: "move-step", body: stepOf(id) }).refusal;
    expect(step(MOVE)).toMatchObject({ kind: "item-not-found", reason: "unknown-exchange" });
    expect(step(held(lender))).toMatchObject({ reason: "not-leased" });
    const id = leased(lender);
    ask(lender, release(id));
    expect(step(id)).toMatchObject({ reason: "exchange-over" });
  });

  it("B1: tells a hold for a VM that comes over alive from one for a VM that is to be started", () => {
    const lender = createLender();
    const hold = holdOf();
    expect(ask(lender, { kind: "hold", body: { ...hold, incoming: true } }).refusal).toMatchObject({
      reason: "digest-mismatch",
    });
    expect(ask(lender, { kind: "hold", body: hold }).answer?.kind).toBe("held");
  });
});
