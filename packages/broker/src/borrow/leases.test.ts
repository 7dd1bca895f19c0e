import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { want } from "../broker.fixture.ts";
import type { Peering } from "../peering/peering.ts";
import {
  BETA,
  GAMMA,
  heldAnswer,
  lease,
  leasedAnswer,
  leasedSite,
  lent,
  released,
  renewed,
  Site,
  START,
  searching,
  state,
  VM,
} from "./borrower.fixture.ts";

describe("a peering that is not in force", () => {
  it.each([
    ["suspended by us", { state: "suspended" }],
    ["drained by us", { state: "draining" }],
    ["suspended by the peer", { partnerState: "suspended" }],
    ["drained by the peer", { partnerState: "draining" }],
  ] as const)("B4: %s lets its leases run out, and has them renewed when it is active again", (_what, change) => {
    const peerings: Peering[] = [BETA];
    const site = leasedSite(peerings);
    peerings[0] = { ...BETA, ...change };
    site.nowMs += 40_000;
    site.step({ kind: "tick" });
    expect(site.outstanding("renew")).toEqual([]);
    expect(site.machine.nextDueMs()).toBeGreaterThan(site.nowMs);
    peerings[0] = BETA;
    site.nowMs += 10_000;
    site.step({ kind: "tick" });
    expect(site.outstanding("renew")).toHaveLength(1);
  });

  it("B4: that was left asks for no renewal", () => {
    const peerings: Peering[] = [BETA];
    const site = leasedSite(peerings);
    peerings.length = 0;
    site.nowMs += 40_000;
    site.step({ kind: "tick" });
    expect(site.outstanding("renew")).toEqual([]);
  });
});

describe("borrower: leases", () => {
  it("B4: counts the lease from its asking and renews at half of it", () => {
    const site = searching();
    site.answer("hold", heldAnswer(site));
    const askedAtMs = site.nowMs;
    site.nowMs += 800;
    site.answer("lease", leasedAnswer(site, 59_900));
    expect(site.record()).toMatchObject({ stage: "leased", expiresAtMs: askedAtMs + 59_900, vmPhase: "queued" });
    site.untilSent("renew");
    expect(site.nowMs).toBe(askedAtMs + 29_950);
    expect(site.sent("renew").request).toMatchObject({ body: { leases: [{ leaseMs: 60_000, wanted: "running" }] } });
    site.answer("renew", renewed([state(site, { revision: 2, stage: "leased", vm: "queued", remainingMs: 60_000 })]));
    expect(site.record()).toMatchObject({ renewals: 1, expiresAtMs: askedAtMs + 89_950 });
  });

  it("B4: asks for no more than the lender grants", () => {
    const site = searching();
    site.answer("hold", { kind: "held", body: { id: site.id(), remainingMs: 30_000, leaseMsMax: 7_000 } });
    expect(site.sent("lease").request).toMatchObject({ body: { leaseMs: 7_000 } });
  });

  it("renews fifty leases in one stanza, and one stanza a peer at a time", () => {
    const site = new Site([BETA]);
    site.load(Array.from({ length: 60 }, (_, index) => lent(index)));
    site.step({ kind: "tick" });
    const first = site.sent("renew");
    expect(site.asked.filter(({ request }) => request.kind === "renew")).toHaveLength(1);
    expect(first.request.kind === "renew" && first.request.body.leases).toHaveLength(50);
    const ids = first.request.kind === "renew" ? first.request.body.leases.map(({ id }) => id) : [];
    site.answer("renew", renewed(ids.map((id) => lease(id, { revision: 1, remainingMs: 60_000 }))));
    site.step({ kind: "tick" });
    const second = site.sent("renew");
    expect(second.request.kind === "renew" && second.request.body.leases).toHaveLength(10);
  });

  it("B4: releases a lease that nobody renewed in its time and grace, and counts it over only by word or by time", () => {
    const site = leasedSite();
    const { expiresAtMs } = site.record() ?? { expiresAtMs: 0 };
    while (site.record()?.stage === "leased") {
      site.due();
      site.unknownAll();
    }
    expect(site.nowMs).toBeGreaterThanOrEqual(expiresAtMs + 60_000);
    const overAtMs = site.record()?.overAtMs ?? 0;
    while (site.record()?.stage === "releasing") {
      expect(site.nowMs).toBeLessThan(overAtMs);
      site.due();
      site.unknownAll();
    }
    expect(site.nowMs).toBeGreaterThanOrEqual(overAtMs);
    expect([...site.machine.records()]).toMatchObject([
      { stage: "closed", reason: expect.stringContaining("unconfirmed") },
    ]);
  });

  it("P1: stores how late a renewal may end the lease before it asks for it", () => {
    const site = leasedSite();
    const before = site.record()?.overAtMs ?? 0;
    site.untilSent("renew");
    expect(site.record()?.overAtMs).toBe(site.nowMs + 60_000 + 60_000 + 60_000 + 5_000);
    expect(site.record()?.overAtMs).toBeGreaterThan(before);
    expect(site.changes.at(-1)).toMatchObject({ kind: "put", record: { overAtMs: site.record()?.overAtMs } });
  });

  it("tells the lender a new wanted state at once", () => {
    const site = leasedSite();
    site.step({ kind: "set-wanted", vm: VM, wanted: "paused" });
    expect(site.sent("renew").request).toMatchObject({ body: { leases: [{ wanted: "paused" }] } });
    site.step({ kind: "set-wanted", vm: VM, wanted: "stopped" });
    site.answer("renew", renewed([lease(site.id(), { revision: 2, remainingMs: 60_000 })]));
    site.due();
    expect(site.sent("renew").request).toMatchObject({ body: { leases: [{ wanted: "stopped" }] } });
  });

  it("tells a wanted state that was set before the lease came", () => {
    const site = searching();
    site.answer("hold", heldAnswer(site));
    site.step({ kind: "set-wanted", vm: VM, wanted: "stopped" });
    site.answer("lease", leasedAnswer(site));
    site.due();
    expect(site.sent("renew").request).toMatchObject({ body: { leases: [{ wanted: "stopped" }] } });
  });

  it("P1: waits for time, not for word, when a lender calls void what it ran", () => {
    const site = leasedSite();
    site.untilSent("renew");
    const lost = { id: site.id(), refusal: refusal("item-not-found", "unknown-lease", "no such lease") };
    site.answer("renew", { kind: "renewed", body: { leases: [lost] } });
    site.answer("release", {
      kind: "released",
      body: { state: state(site, { revision: 90, stage: "voided", vm: undefined }) },
    });
    expect(site.record()).toMatchObject({ stage: "releasing" });
  });
});

describe("borrower: what the lender says by itself", () => {
  it.each([
    ["released", "deleted"],
    ["released", "refused"],
  ] as const)("closes an exchange that the lender says is %s, its VM %s", (stage, vm) => {
    const site = leasedSite();
    const said = state(site, { revision: 9, stage, vm, reason: "host lost" });
    const effects = site.step({ kind: "notice", peer: "beta.test", notice: { states: [said] } });
    expect(effects).toContainEqual(
      expect.objectContaining({
        kind: "exchange-changed",
        record: expect.objectContaining({ stage: "closed", vmPhase: vm, reason: "host lost" }),
      }),
    );
    expect(site.record()).toBeUndefined();
    site.step(want());
    site.answerOffers({});
    expect(site.record()).toMatchObject({ stage: "holding" });
  });

  it("takes notices by revision: repeated and late ones change nothing", () => {
    const site = leasedSite();
    const running = state(site, { revision: 6, stage: "leased", vm: "running", address: "10.0.0.7" });
    site.notice(running);
    expect(site.record()).toMatchObject({ vmPhase: "running", address: "10.0.0.7", revision: 6 });
    const before = site.changes.length;
    site.notice(running);
    site.notice(state(site, { revision: 5, stage: "leased", vm: "placing" }));
    expect(site.changes).toHaveLength(before);
    expect(site.record()).toMatchObject({ vmPhase: "running" });
  });

  it("B5: takes no word about an exchange from another peer than its lender", () => {
    const site = leasedSite([BETA, GAMMA]);
    site.notice(state(site, { revision: 9, stage: "released", vm: "deleted" }), "gamma.test");
    expect(site.record()).toMatchObject({ stage: "leased" });
  });

  it("pulls page by page what an offer shows to have changed, from what it knows", () => {
    const site = leasedSite();
    site.untilSent("offer-query");
    site.answerOffers({ revision: 70 });
    expect(site.sent("pull").request).toMatchObject({ body: { since: 0, max: 50 } });
    const first = lease(site.id(), { revision: 50, vm: "running" });
    site.answer("pull", { kind: "pulled", body: { states: [first], complete: false } });
    expect(site.record()).toMatchObject({ vmPhase: "running", revision: 50 });
    expect(site.sent("pull").request).toMatchObject({ body: { since: 50 } });
    site.answer("pull", {
      kind: "pulled",
      body: { states: [lease(site.id(), { revision: 70, vm: "paused" })], complete: true },
    });
    site.untilSent("offer-query");
    site.answerOffers({ revision: 70 });
    expect(site.outstanding("pull")).toEqual([]);
  });

  it("reads everything anew from a lender whose sequence went back", () => {
    const site = leasedSite();
    site.untilSent("offer-query");
    site.answerOffers({ revision: 70 });
    site.answer("pull", { kind: "pulled", body: { states: [lease(site.id(), { revision: 70 })], complete: true } });
    site.untilSent("offer-query");
    site.answerOffers({ revision: 3 });
    expect(site.sent("pull").request).toMatchObject({ body: { since: 0 } });
  });

  it("B4: releases what it closed by time and a lender still reports alive", () => {
    const site = new Site([BETA]);
    site.load([{ ...lent(1), stage: "closed", changedAtMs: START }]);
    site.step({ kind: "tick" });
    site.notice(lease(lent(1).id, { revision: 9 }));
    expect(site.sent("release").request).toMatchObject({ body: { id: lent(1).id } });
  });
});

describe("borrower: an end that the lender set", () => {
  it("is forgotten when the lender takes it back, and the lease is renewed at once", () => {
    const site = leasedSite();
    const own = { revision: 5, vm: "running", remainingMs: 20_000 } as const;
    site.notice(state(site, { ...own, endsWithinMs: 20_000, reason: "own VMs wait" }));
    expect(site.record()).toMatchObject({ endsAtMs: site.nowMs + 20_000, endReason: "own VMs wait" });
    site.notice(state(site, { ...own, revision: 6 }));
    const { endsAtMs, endReason } = site.record() ?? {};
    expect([endsAtMs, endReason]).toEqual([undefined, undefined]);
    site.step({ kind: "tick" });
    const said = state(site, { revision: 6, vm: "running", remainingMs: 60_000 });
    site.answer("renew", renewed([said]));
    expect(site.record()).toMatchObject({ stage: "leased", expiresAtMs: site.nowMs + 60_000 });
  });
});

describe("borrower: promises", () => {
  const promises = (effects: readonly { readonly kind: string }[]) => effects.filter(({ kind }) => kind === "promise");

  it("says once that a lease came to run", () => {
    const site = leasedSite();
    const run = (revision: number, vm: "running" | "queued") =>
      site.step({ kind: "notice", peer: "beta.test", notice: { states: [state(site, { revision, vm })] } });
    expect(promises(run(3, "running"))).toMatchObject([{ kept: true }]);
    expect(promises(run(4, "queued"))).toEqual([]);
    expect(promises(run(5, "running"))).toEqual([]);
  });

  it("gives back what was leased and never runs, calls the promise broken, and asks another peer", () => {
    const site = leasedSite([BETA, GAMMA]);
    const { peer } = site.record() ?? {};
    const broken: unknown[] = [];
    for (let round = 0; round < 200 && site.outstanding("release").length === 0; round += 1) {
      site.nowMs = Math.max(site.nowMs + 1, site.machine.nextDueMs() ?? 0);
      broken.push(...promises(site.step({ kind: "tick" })));
      for (const sent of site.outstanding("renew"))
        broken.push(
          ...promises(
            site.end(sent, {
              kind: "answered",
              answer: renewed([state(site, { revision: 2, vm: "queued", remainingMs: 60_000 })]),
            }),
          ),
        );
      site.answerOffers({});
    }
    expect(site.nowMs - START).toBe(600_000);
    expect(broken).toMatchObject([{ kept: false, record: { peer } }]);
    expect(site.record()).toMatchObject({
      stage: "releasing",
      reason: "the peer leased it 600 s ago and does not run it",
    });
    site.answer("release", released("released"));
    site.step(want());
    site.answerOffers({});
    expect(site.sent("hold").peer).not.toBe(peer);
  });

  it("calls a promise broken that the lender ends by itself, and none that its borrower gives up", () => {
    const ended = leasedSite();
    const said = state(ended, { revision: 9, stage: "released", vm: "refused" });
    expect(promises(ended.step({ kind: "notice", peer: "beta.test", notice: { states: [said] } }))).toMatchObject([
      { kept: false },
    ]);
    const given = leasedSite();
    given.step({ kind: "release", vm: VM, reason: "deleted by its user" });
    expect(promises(given.answer("release", released("released")))).toEqual([]);
  });
});
