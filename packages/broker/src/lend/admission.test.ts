import type { Resources } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { holdOf, newId, PEERING, SITE, SPEC } from "../broker.fixture.ts";
import { EXCHANGES_MAX } from "./admission.ts";
import {
  ask,
  env,
  held,
  heldOf,
  lease,
  leased,
  NOW,
  offerQuery,
  PEER,
  pull,
  release,
  renew,
  restart,
  tick,
  tombstone,
  vmChanged,
  withPeering,
  withPolicy,
} from "./lender.fixture.ts";
import { createLender } from "./lender.ts";
import type { LenderEnv } from "./lender-contract.ts";

describe("lender: who may do what", () => {
  const denials: readonly [string, Partial<LenderEnv>, string][] = [
    ["a stranger", { peering: () => undefined }, "not-peered"],
    ["a suspended peer", withPeering({ state: "suspended" }), "peering-suspended"],
    ["a peer whose peering is drained", withPeering({ state: "draining" }), "peering-draining"],
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

  it("B4: a peering that is drained begins no lease and renews none: what runs keeps the end it has", () => {
    const lender = createLender();
    const id = held(lender);
    const draining = withPeering({ state: "draining" });
    expect(ask(lender, lease(id), draining).refusal).toMatchObject({ reason: "peering-draining" });
    ask(lender, lease(id));
    const before = lender.find(PEER, id)?.expiresAtMs;
    const { answer } = ask(lender, renew(id), { ...draining, nowMs: NOW + 30_000 });
    expect(answer).toMatchObject({
      kind: "renewed",
      body: {
        leases: [{ id, refusal: { reason: "peering-draining" }, state: { stage: "leased", remainingMs: 30_000 } }],
      },
    });
    expect(lender.find(PEER, id)?.expiresAtMs).toBe(before);
    expect(ask(lender, offerQuery(), draining).answer).toMatchObject({ body: { accepting: false } });
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
