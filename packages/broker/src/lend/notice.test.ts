import { describe, expect, it } from "vitest";
import { ask, env, held, leased, NOW, PEER, pull, renew, restart, withPolicy } from "./lender.fixture.ts";
import { createLender } from "./lender.ts";
import type { Lender, LenderEnv } from "./lender-contract.ts";

const PREEMPT = withPolicy({ preempt: { noticeMs: 20_000 } });
const REASON = "own VMs wait";

function makeRoom(lender: Lender, ids: readonly string[], vm = "vm-1", part: Partial<LenderEnv> = PREEMPT) {
  const leases = ids.map((id) => ({ peer: PEER, id }));
  return lender.step({ kind: "make-room", vm, leases, reason: REASON }, env(part));
}

function revoke(lender: Lender, id: string, noticeMs: number) {
  return lender.step({ kind: "revoke", ticket: 3, id, noticeMs, reason: "audit" }, env());
}

describe("lender: home first", () => {
  it("gives the youngest lease notice, and tells its borrower how long it has and why", () => {
    const lender = createLender();
    const ids = [leased(lender), leased(lender)];
    const { effects } = makeRoom(lender, ids);
    const [notice] = effects.filter(({ kind }) => kind === "notify");
    expect(notice).toMatchObject({
      peer: PEER,
      states: [{ id: ids[1], stage: "leased", endsWithinMs: 20_000, remainingMs: 20_000, reason: REASON }],
    });
    expect(ask(lender, pull(0)).answer).toMatchObject({ kind: "pulled" });
  });

  it("takes back one lease for one VM, however often it waits", () => {
    const lender = createLender();
    const ids = [leased(lender), leased(lender)];
    makeRoom(lender, ids);
    expect(makeRoom(lender, ids).changes).toEqual([]);
    expect(makeRoom(restart(lender), ids).changes).toEqual([]);
    expect(makeRoom(lender, ids, "vm-2").changes).toMatchObject([{ record: { id: ids[0], endsFor: "vm-2" } }]);
    expect(makeRoom(lender, ids, "vm-3").changes).toEqual([]);
  });

  it("leaves alone what the policy does not let it take, and what is no lease", () => {
    const lender = createLender();
    expect(makeRoom(lender, [leased(lender)], "vm-1", {}).changes).toEqual([]);
    expect(makeRoom(lender, [held(lender)]).changes).toEqual([]);
  });

  it("B4: ends the lease at its deadline with its reason, renewed or not, and not before", () => {
    const lender = createLender();
    const id = leased(lender);
    makeRoom(lender, [id]);
    expect(ask(lender, renew(id), PREEMPT).answer).toMatchObject({
      body: { leases: [{ state: { stage: "leased", endsWithinMs: 20_000, remainingMs: 20_000 } }] },
    });
    const next = restart(lender);
    expect(next.step({ kind: "tick" }, env({ nowMs: NOW + 19_999 })).effects).toEqual([]);
    const { effects } = next.step({ kind: "tick" }, env({ nowMs: NOW + 20_000 }));
    expect(effects).toContainEqual(expect.objectContaining({ kind: "remove", reason: REASON }));
    expect(next.find(PEER, id)).toMatchObject({ stage: "releasing", reason: REASON });
  });
});

describe("lender: a notice that is needed no more", () => {
  const found = (lender: Lender, vm: string, nowMs = NOW) =>
    lender.step({ kind: "room-found", vm, reason: "its room is not needed any more" }, env({ ...PREEMPT, nowMs }));

  it("is withdrawn, the borrower is told, and the lease goes on over a restart", () => {
    const lender = createLender();
    const id = leased(lender);
    makeRoom(lender, [id]);
    const { revision = 0 } = lender.find(PEER, id) ?? {};
    const { effects } = found(lender, "vm-1");
    const [notice] = effects.filter(({ kind }) => kind === "notify");
    expect(notice).toMatchObject({ states: [{ id, stage: "leased", revision: revision + 1 }] });
    expect(JSON.stringify(notice)).not.toContain("endsWithinMs");
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: "tell", message: expect.stringMatching(/goes on/) }),
    );
    const next = restart(lender);
    expect(next.step({ kind: "tick" }, env({ nowMs: NOW + 20_000 })).effects).toEqual([]);
    expect(found(next, "vm-1").changes).toEqual([]);
  });

  it("stands where it was for another VM, its time is over, or an admin ended the lease", () => {
    const lender = createLender();
    const id = leased(lender);
    makeRoom(lender, [id]);
    expect(found(lender, "vm-2").changes).toEqual([]);
    expect(found(lender, "vm-1", NOW + 20_000).changes).toMatchObject([{ record: { stage: "releasing" } }]);
    const other = createLender();
    const revoked = leased(other);
    makeRoom(other, [revoked]);
    revoke(other, revoked, 10_000);
    expect(found(other, "vm-1").changes).toEqual([]);
    expect(other.find(PEER, revoked)).toMatchObject({ endsAtMs: NOW + 10_000 });
  });
});

describe("lender: revocation", () => {
  it("ends a lease at once, visibly, with its reason; again it says no more", () => {
    const lender = createLender();
    const id = leased(lender);
    const { effects } = revoke(lender, id, 0);
    const reason = "revoked by the lender: audit";
    expect(effects).toContainEqual(expect.objectContaining({ kind: "remove", reason }));
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: "notify", states: [expect.objectContaining({ stage: "releasing", reason })] }),
    );
    expect(revoke(lender, id, 0).effects).toMatchObject([{ kind: "done", ticket: 3 }]);
  });

  it("gives the notice that it is asked to, and a second one only shortens it", () => {
    const lender = createLender();
    const id = leased(lender);
    revoke(lender, id, 30_000);
    expect(lender.find(PEER, id)).toMatchObject({ stage: "leased", endsAtMs: NOW + 30_000 });
    revoke(lender, id, 60_000);
    expect(lender.find(PEER, id)).toMatchObject({ endsAtMs: NOW + 30_000 });
  });

  it("voids a hold, and refuses what is over", () => {
    const lender = createLender();
    const id = held(lender);
    revoke(lender, id, 0);
    expect(lender.find(PEER, id)).toMatchObject({ stage: "voided" });
    expect(revoke(lender, id, 0).effects).toMatchObject([{ kind: "refuse", refusal: { reason: "exchange-over" } }]);
  });
});
