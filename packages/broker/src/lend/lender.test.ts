import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { holdOf, newId, SPEC } from "../broker.fixture.ts";
import {
  ask,
  env,
  held,
  heldOf,
  lease,
  leased,
  NOW,
  PEER,
  release,
  renew,
  restart,
  tick,
  vmChanged,
} from "./lender.fixture.ts";
import { createLender } from "./lender.ts";

describe("lender: the same question", () => {
  it("B1: gives the same id and digest the same answer, and holds its capacity once", () => {
    const lender = createLender();
    const hold = holdOf();
    expect(heldOf(ask(lender, { kind: "hold", body: hold }))).toMatchObject({ id: hold.id, remainingMs: 30_000 });
    expect(heldOf(ask(lender, { kind: "hold", body: hold }, { nowMs: NOW + 1_000 }))).toMatchObject({
      id: hold.id,
      remainingMs: 29_000,
    });
    expect([...lender.held()]).toHaveLength(1);
  });

  it("B1: gives the same answer after a restart from the store", () => {
    const lender = createLender();
    const hold = holdOf();
    ask(lender, { kind: "hold", body: hold });
    const restarted = restart(lender);
    expect(heldOf(ask(restarted, { kind: "hold", body: hold }))).toMatchObject({ id: hold.id });
    expect([...restarted.held()]).toEqual([{ id: hold.id, peer: PEER, spec: SPEC }]);
  });

  it("B1: refuses the same id with other content as a conflict, and keeps what it stands for", () => {
    const lender = createLender();
    const hold = holdOf();
    ask(lender, { kind: "hold", body: hold });
    const other = holdOf({ id: hold.id, name: "other" });
    expect(ask(lender, { kind: "hold", body: other }).refusal).toMatchObject({ kind: "conflict", reason: "id-taken" });
    expect(lender.find(PEER, hold.id)).toMatchObject({ stage: "held", digest: hold.digest });
  });

  it("B1: refuses a digest that is not that of the hold, by its field", () => {
    const hold = holdOf({ digest: "0".repeat(64) });
    expect(ask(createLender(), { kind: "hold", body: hold }).refusal).toMatchObject({ field: "digest" });
  });

  it("B1: repeats a refusal although there is room by now, also after a restart", () => {
    const lender = createLender();
    const hold = holdOf();
    const full = refusal("resource-constraint", "no-capacity", "full");
    expect(ask(lender, { kind: "hold", body: hold }, { roomFor: () => full }).refusal).toEqual(full);
    expect(ask(lender, { kind: "hold", body: hold }).refusal).toEqual(full);
    expect(ask(restart(lender), { kind: "hold", body: hold }).refusal).toEqual(full);
    expect([...lender.held()]).toEqual([]);
  });

  it("B1: takes the question of the borrower's next leader for the same", () => {
    const lender = createLender();
    const hold = holdOf();
    ask(lender, { kind: "hold", body: hold });
    expect(heldOf(ask(lender, { kind: "hold", body: { ...hold, term: 2 } }))).toMatchObject({ id: hold.id });
  });

  it("B1: places a lease once, however often it is asked for", () => {
    const lender = createLender();
    const id = held(lender);
    const first = ask(lender, lease(id));
    expect(first.effects.map(({ kind }) => kind)).toEqual(["place", "answer"]);
    const second = ask(lender, lease(id), { nowMs: NOW + 500 });
    expect(second.effects.map(({ kind }) => kind)).toEqual(["answer"]);
    expect(second.answer).toMatchObject({ kind: "leased", body: { state: { stage: "leased", remainingMs: 59_500 } } });
  });

  it("B1: forgets a closed exchange only after rememberMs", () => {
    const lender = createLender();
    const old = held(lender);
    ask(lender, release(old));
    ask(lender, release(newId()));
    expect(tick(lender, { nowMs: NOW + 599_999 }).changes).toEqual([]);
    expect(tick(lender, { nowMs: NOW + 600_000 }).changes).toEqual([{ kind: "forget", peer: PEER, id: old }]);
    expect(lender.find(PEER, old)).toBeUndefined();
  });
});

describe("lender: release", () => {
  it("B3: leaves a tombstone for a release before its hold, and refuses the late hold", () => {
    const lender = createLender();
    const hold = holdOf();
    expect(ask(lender, release(hold.id)).answer).toMatchObject({
      kind: "released",
      body: { state: { stage: "voided" } },
    });
    for (const machine of [lender, restart(lender)]) {
      expect(ask(machine, { kind: "hold", body: hold }).refusal).toMatchObject({ reason: "exchange-over" });
      expect(ask(machine, lease(hold.id)).refusal).toMatchObject({ reason: "exchange-over" });
      expect([...machine.held()]).toEqual([]);
    }
  });

  it("frees a hold at once", () => {
    const lender = createLender();
    const id = held(lender);
    expect(ask(lender, release(id)).answer).toMatchObject({ body: { state: { id, stage: "voided" } } });
    expect([...lender.held()]).toEqual([]);
  });

  it("removes a leased VM and is released only when the VM is gone", () => {
    const lender = createLender();
    const id = leased(lender);
    const first = ask(lender, release(id));
    expect(first.effects).toMatchObject([
      { kind: "remove", record: { id, stage: "releasing" } },
      { kind: "answer", answer: { body: { state: { stage: "releasing" } } } },
    ]);
    const gone = vmChanged(lender, id, "deleted");
    expect(gone.effects).toMatchObject([
      { kind: "notify", peer: PEER, states: [{ id, stage: "released", vm: "deleted" }] },
    ]);
    expect(ask(lender, release(id)).answer).toMatchObject({ body: { state: { stage: "released" } } });
  });

  it("B3: does not call a hold held once its exchange is being ended", () => {
    const lender = createLender();
    const hold = holdOf();
    ask(lender, { kind: "hold", body: hold });
    ask(lender, lease(hold.id));
    expect(heldOf(ask(lender, { kind: "hold", body: hold }))).toMatchObject({ remainingMs: 0 });
    ask(lender, release(hold.id));
    expect(ask(lender, { kind: "hold", body: hold }).refusal).toMatchObject({ reason: "exchange-over" });
  });

  it("orders a removal again after a start, until the VM is gone", () => {
    const lender = createLender();
    const id = leased(lender);
    ask(lender, release(id));
    const restarted = restart(lender);
    expect(restarted.nextDueMs()).toBe(0);
    expect(tick(restarted).effects).toMatchObject([{ kind: "remove", record: { id } }]);
    expect(tick(restarted, { nowMs: NOW + 29_999 }).effects).toEqual([]);
    expect(tick(restarted, { nowMs: NOW + 30_000 }).effects).toMatchObject([{ kind: "remove", record: { id } }]);
  });

  it("refuses to renew what was released, with the state and a machine reason", () => {
    const lender = createLender();
    const id = leased(lender);
    ask(lender, release(id));
    expect(ask(lender, renew(id)).answer).toMatchObject({
      body: { leases: [{ id, state: { stage: "releasing" }, refusal: { kind: "conflict", reason: "exchange-over" } }] },
    });
  });

  it("closes the exchange when the VM ends by itself, with the reason", () => {
    const lender = createLender();
    const id = leased(lender);
    const step = lender.step({ kind: "vm-changed", peer: PEER, id, phase: "refused", reason: "no such image" }, env());
    expect(step.effects).toMatchObject([
      { kind: "notify", states: [{ id, stage: "released", vm: "refused", reason: "no such image" }] },
    ]);
    expect(vmChanged(lender, id, "running").changes).toEqual([]);
  });
});

describe("lender: ends by duration", () => {
  it("B4: voids a hold at its end and tells the borrower", () => {
    const lender = createLender();
    const id = held(lender);
    expect(lender.nextDueMs()).toBe(NOW + 30_000);
    expect(tick(lender, { nowMs: NOW + 29_999 }).changes).toEqual([]);
    expect(tick(lender, { nowMs: NOW + 30_000 }).effects).toMatchObject([
      { kind: "notify", peer: PEER, states: [{ id, stage: "voided" }] },
    ]);
    expect([...lender.held()]).toEqual([]);
  });

  it("B4: refuses the lease of a hold that ran out, tick or no tick", () => {
    const lender = createLender();
    const id = held(lender);
    expect(ask(lender, lease(id), { nowMs: NOW + 30_000 }).refusal).toMatchObject({ reason: "exchange-over" });
  });

  it("B4: removes a lease's VM at its end and grace, not before", () => {
    const lender = createLender();
    const id = leased(lender);
    expect(lender.nextDueMs()).toBe(NOW + 70_000);
    expect(tick(lender, { nowMs: NOW + 69_999 }).effects).toEqual([]);
    expect(tick(lender, { nowMs: NOW + 70_000 }).effects).toMatchObject([
      { kind: "remove", record: { id } },
      { kind: "notify", states: [{ id, stage: "releasing", remainingMs: 0 }] },
    ]);
  });

  it("B4: removes what ran out while the manager was down", () => {
    const lender = createLender();
    const id = leased(lender);
    expect(tick(restart(lender), { nowMs: NOW + 1_000_000 }).effects).toMatchObject([
      { kind: "remove", record: { id } },
      { kind: "notify" },
    ]);
  });

  it("B4: renews from now, and within the grace too", () => {
    const lender = createLender();
    const id = leased(lender);
    const answer = ask(lender, renew(id), { nowMs: NOW + 65_000 }).answer;
    expect(answer).toMatchObject({ body: { leases: [{ id, state: { stage: "leased", remainingMs: 60_000 } }] } });
    expect(lender.find(PEER, id)).toMatchObject({ expiresAtMs: NOW + 125_000, renewals: 1 });
  });

  it("B4: renews each lease of a batch by itself", () => {
    const lender = createLender();
    const [good, over, unknown] = [leased(lender), leased(lender), newId()];
    ask(lender, release(over));
    const wanted = "running" as const;
    const leases = [good, over, unknown].map((id) => ({ id, leaseMs: 60_000, wanted }));
    expect(ask(lender, { kind: "renew", body: { term: 1, leases } }).answer).toMatchObject({
      body: {
        leases: [
          { id: good, state: { stage: "leased" } },
          { id: over, refusal: { reason: "exchange-over" } },
          { id: unknown, refusal: { kind: "item-not-found" } },
        ],
      },
    });
  });

  it("hands a new wanted state on once", () => {
    const lender = createLender();
    const id = leased(lender);
    expect(ask(lender, renew(id, "paused")).effects).toMatchObject([
      { kind: "want", wanted: "paused" },
      { kind: "answer" },
    ]);
    expect(ask(restart(lender), renew(id, "paused")).effects).toMatchObject([{ kind: "answer" }]);
  });
});
