import { describe, expect, it } from "vitest";
import { holdOf } from "../broker.fixture.ts";
import { PENDING_MAX } from "./approval.ts";
import { ask, env, lease, NOW, PEER, release, restart, withPolicy } from "./lender.fixture.ts";
import { createLender } from "./lender.ts";
import type { Lender, LenderEnv } from "./lender-contract.ts";

const ABOVE = withPolicy({ approveAbove: { vcpus: 1 }, vmsMax: 1_000, share: 1 });

function decide(lender: Lender, id: string, approve: boolean, part: Partial<LenderEnv> = {}) {
  return lender.step({ kind: "decide", ticket: 3, id, approve }, env({ ...ABOVE, ...part })).effects;
}

function waiting() {
  const lender = createLender();
  const body = holdOf();
  const request = { kind: "hold", body } as const;
  const first = ask(lender, request, ABOVE);
  return { lender, body, request, first };
}

describe("lender: approval", () => {
  it("B1: a hold above the limit waits, sets nothing aside, and is told the same each time", () => {
    const { lender, request, first } = waiting();
    expect(first.refusal).toMatchObject({
      kind: "resource-constraint",
      reason: "awaiting-approval",
      retryAfterMs: 30_000,
    });
    expect(ask(lender, request, ABOVE).refusal).toEqual(first.refusal);
    expect(ask(restart(lender), request, ABOVE).refusal).toEqual(first.refusal);
    expect([...lender.held()]).toEqual([]);
    expect(first.effects).toContainEqual(expect.objectContaining({ kind: "tell" }));
  });

  it("B1: the same id with another content is a conflict", () => {
    const { lender, body } = waiting();
    const other = holdOf({ id: body.id, name: "other" });
    expect(ask(lender, { kind: "hold", body: other }, ABOVE).refusal).toMatchObject({ reason: "id-taken" });
  });

  it("is held once it is approved, also by the next leader, and is leased like any other", () => {
    const { lender, body, request } = waiting();
    expect(decide(lender, body.id, true)).toContainEqual(expect.objectContaining({ kind: "done", ticket: 3 }));
    const next = restart(lender);
    expect(ask(next, request, ABOVE).answer).toMatchObject({ kind: "held", body: { id: body.id } });
    expect(ask(next, request, ABOVE).answer).toMatchObject({ kind: "held" });
    expect(ask(next, lease(body.id), ABOVE).answer).toMatchObject({ kind: "leased" });
    expect([...next.records()].filter(({ id }) => id === body.id)).toHaveLength(1);
  });

  it("asks the other rules again when it is approved, and does not remember what held it up", () => {
    const { lender, body, request } = waiting();
    decide(lender, body.id, true);
    const closed = withPolicy({ approveAbove: { vcpus: 1 }, vmsMax: 0 });
    expect(ask(lender, request, closed).refusal).toMatchObject({ reason: "vms-limit" });
    expect(ask(lender, request, ABOVE).answer).toMatchObject({ kind: "held" });
  });

  it("B1: refuses for good once it is denied; another decision comes too late", () => {
    const { lender, body, request } = waiting();
    decide(lender, body.id, false);
    expect(ask(lender, request, ABOVE).refusal).toMatchObject({ kind: "policy-violation", reason: "denied" });
    expect(decide(lender, body.id, false)).toContainEqual(expect.objectContaining({ kind: "done" }));
    expect(decide(lender, body.id, true)).toContainEqual(
      expect.objectContaining({ kind: "refuse", refusal: expect.objectContaining({ reason: "decided-already" }) }),
    );
  });

  it("refuses an approval after its time, and the hold too", () => {
    const { lender, body, request } = waiting();
    const late = { ...ABOVE, nowMs: NOW + 300_000 };
    expect(decide(lender, body.id, true, late)).toContainEqual(
      expect.objectContaining({ kind: "refuse", refusal: expect.objectContaining({ reason: "approval-expired" }) }),
    );
    expect(ask(lender, request, late).refusal).toMatchObject({ reason: "approval-expired" });
  });

  it("refuses an approval of what waits for none, or is not known", () => {
    const lender = createLender();
    const body = holdOf();
    ask(lender, { kind: "hold", body });
    const refusals = [body.id, "01900000-0000-7000-8000-0000000fffff"].map((id) => decide(lender, id, true)[0]);
    expect(refusals).toMatchObject([{ refusal: { reason: "not-awaiting" } }, { refusal: { reason: "unknown-lease" } }]);
  });

  it("B3: a release takes it back: an approval has nothing left to approve", () => {
    const { lender, body, request } = waiting();
    ask(lender, release(body.id), ABOVE);
    expect(decide(lender, body.id, true)).toMatchObject([{ kind: "refuse", refusal: { reason: "not-awaiting" } }]);
    expect(ask(lender, request, ABOVE).refusal).toMatchObject({ reason: "exchange-over" });
  });

  it("S2: lets so many wait at once, and no more", () => {
    const lender = createLender();
    for (let count = 0; count < PENDING_MAX; count += 1) ask(lender, { kind: "hold", body: holdOf() }, ABOVE);
    const { refusal } = ask(lender, { kind: "hold", body: holdOf() }, ABOVE);
    expect(refusal).toMatchObject({ reason: "too-many-approvals" });
  });

  it("takes the peer's name where two peers chose the same id", () => {
    const { lender, body, request } = waiting();
    lender.step({ kind: "request", peer: "gamma.test", ticket: 1, request }, env(ABOVE));
    expect(decide(lender, body.id, true)).toMatchObject([{ refusal: { reason: "ambiguous-lease", field: "peer" } }]);
    const named = { kind: "decide", ticket: 3, id: body.id, peer: PEER, approve: true } as const;
    expect(lender.step(named, env(ABOVE)).effects).toContainEqual(expect.objectContaining({ kind: "done" }));
  });
});
