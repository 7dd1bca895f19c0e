import type { Resources } from "@muster/protocol";
import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { holdOf, lenderEnv, newId, PEERING, POLICY, SITE, SPEC } from "../broker.fixture.ts";
import type { BurstAnswer, BurstRequest } from "../burst-message.ts";
import { EXCHANGES_MAX } from "./admission.ts";
import { createLender } from "./lender.ts";
import type { Lender, LenderEffect, LenderEnv, LendRecord } from "./lender-contract.ts";

const NOW = 100_000;
const PEER = "alpha.test";

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

describe("lender: who may do what", () => {
  const denials: readonly [string, Partial<LenderEnv>, string][] = [
    ["a stranger", { peering: () => undefined }, "not-peered"],
    ["a suspended peer", withPeering({ state: "suspended" }), "peering-suspended"],
    ["a peer whose requests are not accepted", withPolicy({ accept: false }), "not-accepting"],
    ["a peer above its VMs", withPolicy({ vmsMax: 0 }), "vms-limit"],
    ["a VM larger than the share", withPolicy({ share: 0.01 }), "above-share"],
    ["an image that the site has not", { images: [] }, "unknown-image"],
    ["an image that is not granted", withPolicy({ images: ["alpine-3"] }), "image-not-granted"],
    ["a peer without any lease", withPolicy({ leaseMsMax: 0 }), "no-lease-granted"],
  ];
  it.each(denials)("B5: refuses the hold of %s", (_, part, reason) => {
    const lender = createLender();
    expect(ask(lender, { kind: "hold", body: holdOf() }, part).refusal).toMatchObject({ reason });
    expect([...lender.held()]).toEqual([]);
  });

  it.each(["lease", "renew", "pull", "offer-query"] as const)(
    "B5: refuses a stranger's %s and remembers nothing",
    (kind) => {
      const lender = createLender();
      const id = leased(lender);
      const requests = { lease: lease(id), renew: renew(id), pull: pull(0), "offer-query": offerQuery() };
      const step = lender.step({ kind: "request", peer: "mallory.test", ticket: 1, request: requests[kind] }, env());
      expect(step).toMatchObject({ changes: [], effects: [{ kind: "refuse", refusal: { kind: "forbidden" } }] });
    },
  );

  it.each(["lease", "renew"] as const)("B5: refuses the %s of a peer that is not accepted any more", (kind) => {
    const lender = createLender();
    const id = kind === "lease" ? held(lender) : leased(lender);
    const request = kind === "lease" ? lease(id) : renew(id);
    expect(ask(lender, request, withPolicy({ accept: false })).refusal).toMatchObject({ reason: "not-accepting" });
  });

  it("B5: lets a suspended peer give back what it has", () => {
    const lender = createLender();
    const id = leased(lender);
    expect(ask(lender, release(id), withPeering({ state: "suspended" })).effects).toMatchObject([
      { kind: "remove" },
      { kind: "answer" },
    ]);
  });

  it("B5: keeps the exchanges of two peers apart, under whatever id", () => {
    const lender = createLender();
    const id = leased(lender);
    const both = { peering: (domain: string) => ({ ...PEERING, domain }) };
    for (const request of [renew(id), release(id)])
      lender.step({ kind: "request", peer: "gamma.test", ticket: 1, request }, env(both));
    expect(
      lender.step({ kind: "request", peer: "gamma.test", ticket: 1, request: lease(id) }, env(both)).effects,
    ).toMatchObject([{ kind: "refuse" }]);
    expect(lender.find(PEER, id)).toMatchObject({ stage: "leased", renewals: 0 });
    expect(lender.find("gamma.test", id)).toMatchObject({ stage: "voided" });
  });

  it.each(["vcpus", "memoryMiB", "diskGiB", "gpus"] as const)(
    "B5: counts held, leased and releasing VMs against the share of %s",
    (kind) => {
      const lender = createLender();
      const site: Resources = { ...SITE, gpus: 8, [kind]: 20 };
      const spec = { ...SPEC, vcpus: 1, memoryMiB: 16, diskGiB: 1, [kind]: 3 };
      const take = () => ask(lender, { kind: "hold", body: holdOf({ spec }) }, { siteTotal: site });
      const ids = [take(), take(), take()].map(heldOf).map(({ id }) => id);
      ask(lender, lease(ids[0] ?? ""));
      ask(lender, lease(ids[1] ?? ""));
      ask(lender, release(ids[1] ?? ""));
      expect(take().refusal).toMatchObject({
        kind: "resource-constraint",
        reason: "share-exceeded",
        field: `spec.${kind}`,
      });
      vmChanged(lender, ids[1] ?? "", "deleted");
      expect(take().answer).toMatchObject({ kind: "held" });
    },
  );

  it("B5: grants no lease longer than its policy, at once or by renewal", () => {
    const lender = createLender();
    const short = withPolicy({ leaseMsMax: 5_000 });
    expect(heldOf(ask(lender, { kind: "hold", body: holdOf() }, short))).toMatchObject({ leaseMsMax: 5_000 });
    const id = held(lender);
    expect(ask(lender, lease(id), short).answer).toMatchObject({ body: { state: { remainingMs: 5_000 } } });
    expect(ask(lender, renew(id), short).answer).toMatchObject({
      body: { leases: [{ state: { remainingMs: 5_000 } }] },
    });
  });

  it("L2: refuses a term below one it has seen, also after a restart and when all else is forgotten", () => {
    const lender = createLender();
    const id = held(lender);
    ask(lender, { kind: "offer-query", body: { term: 7 } });
    expect(ask(lender, lease(id)).refusal).toMatchObject({ kind: "stale-term", field: "term" });
    ask(lender, release(id, 7));
    const restarted = restart(lender);
    tick(restarted, { nowMs: NOW + 10_000_000 });
    expect(ask(restart(restarted), { kind: "hold", body: holdOf({ term: 6 }) }).refusal).toMatchObject({
      kind: "stale-term",
    });
    expect(ask(restart(restarted), { kind: "hold", body: holdOf({ term: 7 }) }).answer).toMatchObject({ kind: "held" });
  });

  it("B7: refuses a hold that has no hop left", () => {
    const body = holdOf({ hops: 0 });
    expect(ask(createLender(), { kind: "hold", body }).refusal).toMatchObject({
      reason: "hops-exceeded",
      field: "hops",
    });
  });

  it("S2: remembers no more exchanges of a peer than the bound", () => {
    const lender = createLender();
    const records = Array.from({ length: EXCHANGES_MAX }, (_, index) => tombstone(index + 1));
    lender.load(records);
    expect(ask(lender, { kind: "hold", body: holdOf() }).refusal).toMatchObject({ reason: "too-many-exchanges" });
    expect(ask(lender, release(newId())).refusal).toMatchObject({ reason: "too-many-exchanges" });
    expect(ask(lender, release(records[0]?.id ?? "")).answer).toMatchObject({ kind: "released" });
  });
});

describe("lender: revisions", () => {
  it("numbers all changes of one peer in one sequence, and pages through them", () => {
    const lender = createLender();
    const ids = [held(lender), held(lender), held(lender)];
    ask(lender, lease(ids[0] ?? ""));
    const first = ask(lender, pull(0, 2)).answer;
    expect(first).toMatchObject({
      body: {
        states: [
          { id: ids[1], revision: 2 },
          { id: ids[2], revision: 3 },
        ],
        complete: false,
      },
    });
    expect(ask(lender, pull(3, 2)).answer).toMatchObject({
      body: { states: [{ id: ids[0], revision: 4, stage: "leased" }], complete: true },
    });
    expect(ask(lender, offerQuery()).answer).toMatchObject({ body: { revision: 4 } });
  });

  it("never gives a number twice, although all that had it is forgotten and the manager restarted", () => {
    const lender = createLender();
    for (let round = 0; round < 3; round += 1) ask(lender, release(newId()));
    tick(lender, { nowMs: NOW + 10_000_000 });
    const restarted = restart(lender);
    expect([...restarted.records()]).toHaveLength(1);
    ask(restarted, release(newId()), { nowMs: NOW + 10_000_001 });
    expect(ask(restarted, pull(3)).answer).toMatchObject({ body: { states: [{ revision: 4 }], complete: true } });
  });

  it("tells of fifty exchanges in one notice, and of more in several", () => {
    const lender = createLender();
    const roomy = withPolicy({ vmsMax: 100, share: 1 });
    const spec = { ...SPEC, vcpus: 1, memoryMiB: 16, diskGiB: 1 };
    const site = { ...roomy, siteTotal: { ...SITE, vcpus: 100 } };
    for (let round = 0; round < 60; round += 1) ask(lender, { kind: "hold", body: holdOf({ spec }) }, site);
    const { effects } = tick(lender, { nowMs: NOW + 30_000 });
    expect(effects.map((effect) => (effect.kind === "notify" ? effect.states.length : 0))).toEqual([50, 10]);
  });
});

describe("lender: offer", () => {
  it("offers the share less what the peer has, never more than is free", () => {
    const lender = createLender();
    held(lender);
    const free = { ...SITE, vcpus: 9 };
    expect(ask(lender, offerQuery(), { siteFree: free, largest: { ...SITE, vcpus: 4 } }).answer).toMatchObject({
      body: { accepting: true, free: { vcpus: 9, memoryMiB: 30_720 }, largest: { vcpus: 4, diskGiB: 490 } },
    });
    expect(ask(lender, offerQuery()).answer).toMatchObject({ body: { free: { vcpus: 14 }, leaseMsMax: 300_000 } });
  });

  it("says why it takes nothing in", () => {
    expect(ask(createLender(), offerQuery(), withPolicy({ accept: false })).answer).toMatchObject({
      body: { accepting: false, reason: expect.stringContaining("not accepted"), free: { vcpus: 0 } },
    });
  });
});

type Reply = {
  readonly answer: BurstAnswer | undefined;
  readonly refusal: unknown;
  readonly effects: readonly LenderEffect[];
};

function ask(lender: Lender, request: BurstRequest, part: Partial<LenderEnv> = {}): Reply {
  const { effects } = lender.step({ kind: "request", peer: PEER, ticket: 7, request }, env(part));
  const replies = effects.filter(({ kind }) => kind === "answer" || kind === "refuse");
  expect(replies).toHaveLength(1);
  const [reply] = replies;
  return {
    answer: reply?.kind === "answer" ? reply.answer : undefined,
    refusal: reply?.kind === "refuse" ? reply.refusal : undefined,
    effects,
  };
}

function heldOf({ answer }: Reply): { readonly id: string; readonly remainingMs: number } {
  if (answer?.kind !== "held") throw new Error(`not held but ${answer?.kind}`);
  return answer.body;
}

function held(lender: Lender): string {
  return heldOf(ask(lender, { kind: "hold", body: holdOf() })).id;
}

function leased(lender: Lender): string {
  const id = held(lender);
  ask(lender, lease(id));
  return id;
}

function restart(lender: Lender): Lender {
  const restarted = createLender();
  restarted.load(structuredClone([...lender.records()]));
  return restarted;
}

function tick(lender: Lender, part: Partial<LenderEnv> = {}) {
  return lender.step({ kind: "tick" }, env(part));
}

function vmChanged(lender: Lender, id: string, phase: "running" | "deleted") {
  return lender.step({ kind: "vm-changed", peer: PEER, id, phase }, env());
}

function env(part: Partial<LenderEnv> = {}): LenderEnv {
  return lenderEnv({ nowMs: NOW, ...part });
}

function withPolicy(part: Partial<typeof POLICY>): Partial<LenderEnv> {
  return withPeering({ lend: { ...POLICY, ...part } });
}

function withPeering(part: Partial<typeof PEERING>): Partial<LenderEnv> {
  return { peering: (domain) => ({ ...PEERING, domain, ...part }) };
}

function lease(id: string): BurstRequest {
  return { kind: "lease", body: { id, term: 1, leaseMs: 60_000 } };
}

function renew(id: string, wanted: "running" | "paused" = "running"): BurstRequest {
  return { kind: "renew", body: { term: 1, leases: [{ id, leaseMs: 60_000, wanted }] } };
}

function release(id: string, term = 1): BurstRequest {
  return { kind: "release", body: { id, term, reason: "not wanted" } };
}

function pull(since: number, max = 50): BurstRequest {
  return { kind: "pull", body: { since, max } };
}

function offerQuery(): BurstRequest {
  return { kind: "offer-query", body: { term: 1 } };
}

function tombstone(revision: number): LendRecord {
  const base = { peer: PEER, digest: "", stage: "voided", leaseMs: 0, expiresAtMs: NOW, renewals: 0 } as const;
  return { ...base, id: newId(), revision, changedAtMs: NOW };
}
