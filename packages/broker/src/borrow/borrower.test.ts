import type { LeaseState, Offer } from "@muster/protocol";
import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { borrowerEnv, PEERING, SITE, SPEC, want } from "../broker.fixture.ts";
import type { BurstAnswer, BurstOutcome, BurstRequest } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";
import { createBorrower } from "./borrower.ts";
import type { Borrower, BorrowerEffect, BorrowerEvent, BorrowRecord } from "./borrower-contract.ts";

const START = 100_000;
const { vm: VM } = want();
const FULL = refusal("resource-constraint", "no-capacity", "every host is full");

describe("borrower: an answer that does not come", () => {
  it("B2: asks for the same hold again under the same id, with growing pauses", () => {
    const site = searching();
    const first = site.sent("hold");
    const pauses: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const askedAtMs = site.nowMs + 5_000;
      site.unknown("hold", 5_000);
      site.untilSent("hold");
      pauses.push(site.nowMs - askedAtMs);
      expect(site.sent("hold").request).toEqual(first.request);
    }
    expect(pauses).toEqual([500, 1_000, 2_000]);
  });

  it("B2: cancels a hold that stays unanswered, and asks no other peer before that is confirmed", () => {
    const site = searching([BETA, GAMMA]);
    const silent = site.sent("hold").peer;
    while (site.record()?.stage === "holding") {
      if (site.outstanding("hold").length > 0) site.unknown("hold", 5_000);
      site.due();
    }
    for (let round = 0; round < 4; round += 1) {
      expect(site.sent("release").peer).toBe(silent);
      site.unknown("release", 5_000);
      site.untilSent("release");
    }
    expect(site.asked.filter(({ request }) => request.kind === "hold").every(({ peer }) => peer === silent)).toBe(true);
    site.answerOffers({});
    site.answer("release", released("voided"));
    site.answerOffers({});
    expect(site.sent("hold").peer).not.toBe(silent);
  });

  it("B2: tries the next peer at once when the only asking was refused", () => {
    const site = searching([BETA, GAMMA]);
    expect(site.sent("hold").peer).toBe("beta.test");
    site.refuse("hold", FULL);
    expect(site.sent("hold").peer).toBe("gamma.test");
    expect([...site.machine.records()]).toMatchObject([{ peer: "beta.test", stage: "closed" }, { peer: "gamma.test" }]);
  });

  it("B2: does not believe a refusal of a hold that may have been taken before", () => {
    const site = searching([BETA, GAMMA]);
    site.unknown("hold", 5_000);
    site.untilSent("hold");
    site.refuse("hold", FULL);
    expect(site.sent("release").peer).toBe("beta.test");
  });

  it("B2, P1: releases a refused lease and waits for the word before it goes elsewhere", () => {
    const site = searching([BETA, GAMMA]);
    site.answer("hold", heldAnswer(site));
    site.refuse("lease", FULL);
    site.answer("release", {
      kind: "released",
      body: { state: state(site, { revision: 3, stage: "releasing", vm: "deleting" }) },
    });
    expect(site.record()).toMatchObject({ stage: "releasing", peer: "beta.test" });
    site.untilSent("release");
    site.answer("release", {
      kind: "released",
      body: { state: state(site, { revision: 4, stage: "released", vm: "deleted" }) },
    });
    expect(site.record()).toBeUndefined();
  });

  it("B3: sends the release while the hold is unanswered, and takes no late answer for it", () => {
    const site = searching();
    const late = site.sent("hold");
    site.step({ kind: "release", vm: VM, reason: "deleted" });
    expect(site.sent("release").request).toMatchObject({ body: { id: site.record()?.id } });
    site.step({
      kind: "answer",
      peer: late.peer,
      call: late.call,
      outcome: { kind: "answered", answer: heldAnswer(site) },
    });
    expect(site.record()).toMatchObject({ stage: "releasing", wanted: "released" });
    expect(site.asked.filter(({ request }) => request.kind === "lease")).toEqual([]);
  });

  it("asks again by itself when nobody reports the end of a call", () => {
    const site = searching();
    site.nowMs += 10_000;
    site.step({ kind: "tick" });
    site.nowMs += 500;
    site.step({ kind: "tick" });
    expect(site.asked.filter(({ request }) => request.kind === "hold")).toHaveLength(2);
  });

  it("takes an answer with another exchange's id for none", () => {
    const site = searching();
    site.answer("hold", { kind: "held", body: { id: VM, remainingMs: 1, leaseMsMax: 60_000 } });
    expect(site.record()).toMatchObject({ stage: "holding" });
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

describe("borrower: choice", () => {
  const offers: readonly [string, Partial<Offer>, string][] = [
    ["takes nothing in", { accepting: false }, "not-accepting"],
    ["has too few vCPUs", { free: { ...SITE, vcpus: 1 } }, "lacks-vcpus"],
    ["has too little memory", { free: { ...SITE, memoryMiB: 1 } }, "lacks-memory"],
    ["has no host that large", { largest: { ...SITE, vcpus: 1 } }, "too-large"],
    ["has not the image", { images: ["alpine-3"] }, "image-not-offered"],
    ["grants no lease", { leaseMsMax: 0 }, "no-lease-granted"],
  ];
  it.each(offers)("P4: does not place at a peer that %s, and says so", (_, offer, reason) => {
    const site = new Site([BETA]);
    site.step(want());
    const effects = site.answerOffers(offer);
    expect(effects).toContainEqual(
      expect.objectContaining({
        kind: "not-placed",
        vm: VM,
        candidates: [expect.objectContaining({ name: "beta.test", verdict: "refused", reason })],
        refusal: expect.objectContaining({ reason: "no-peer-takes-it", retryAfterMs: 2_000 }),
      }),
    );
  });

  it("P4: names each peer that is not asked at all", () => {
    const site = new Site([
      { ...BETA, borrow: false },
      { ...GAMMA, state: "suspended" },
    ]);
    expect(site.step(want())).toMatchObject([
      { kind: "not-placed", candidates: [{ reason: "no-borrow" }, { reason: "peering-suspended" }] },
    ]);
    expect(new Site([]).step(want())).toMatchObject([{ kind: "not-placed", refusal: { reason: "no-peers" } }]);
  });

  it("waits a second for an offer, then does without that peer", () => {
    const site = new Site([BETA, GAMMA]);
    site.step(want());
    site.answer("offer-query", { kind: "offer", body: offer({}) }, "gamma.test");
    expect(site.outstanding("hold")).toEqual([]);
    site.nowMs += 1_000;
    site.step({ kind: "tick" });
    expect(site.sent("hold").peer).toBe("gamma.test");
  });

  it("uses an offer again while it is fresh", () => {
    const site = searching();
    site.nowMs += 1_500;
    site.step(want({ vm: "01900000-0000-7000-8000-00000000bbbb" }));
    expect(site.asked.filter(({ request }) => request.kind === "offer-query")).toHaveLength(1);
    expect(site.outstanding("hold")).toHaveLength(2);
  });

  it("prefers the freer peer, breaks a tie by domain, and counts what it has there already", () => {
    const site = new Site([GAMMA, BETA]);
    site.step(want());
    site.answerOffers({});
    expect(site.sent("hold").peer).toBe("beta.test");
    site.step(want({ vm: "01900000-0000-7000-8000-00000000bbbb" }));
    expect(site.outstanding("hold").map(({ peer }) => peer)).toEqual(["beta.test", "gamma.test"]);
  });

  it("counts holds that an offer cannot know of yet", () => {
    const site = new Site([BETA]);
    site.step(want());
    site.answerOffers({ free: { ...SITE, vcpus: 3 } });
    const effects = site.step(want({ vm: "01900000-0000-7000-8000-00000000bbbb" }));
    expect(effects).toMatchObject([{ kind: "not-placed", candidates: [{ reason: "lacks-vcpus" }] }]);
  });

  it("asks each peer once a round, then rests; a repeated want brings the same answer with what is left", () => {
    const site = searching([BETA, GAMMA]);
    site.refuse("hold", FULL);
    const end = site.refuse("hold", FULL);
    expect(end).toContainEqual(
      expect.objectContaining({
        kind: "not-placed",
        candidates: [
          expect.objectContaining({ name: "beta.test", reason: "no-capacity", message: "every host is full" }),
          expect.objectContaining({ name: "gamma.test", reason: "no-capacity" }),
        ],
      }),
    );
    site.nowMs += 500;
    expect(site.step(want())).toMatchObject([{ kind: "not-placed", refusal: { retryAfterMs: 1_500 } }]);
    site.nowMs += 1_500;
    site.step(want());
    site.answerOffers({});
    site.refuse("hold", FULL);
    expect(site.refuse("hold", FULL)).toContainEqual(
      expect.objectContaining({ kind: "not-placed", refusal: expect.objectContaining({ retryAfterMs: 4_000 }) }),
    );
  });

  it("changes nothing on a repeated want while the search or exchange is open", () => {
    const site = new Site([BETA]);
    site.step(want());
    expect(site.step(want())).toEqual([]);
    site.answerOffers({});
    expect(site.step(want())).toEqual([]);
  });

  it("drops a search that is released before any peer was asked", () => {
    const site = new Site([BETA]);
    site.step(want());
    site.step({ kind: "release", vm: VM, reason: "placed at home" });
    site.answerOffers({});
    expect(site.outstanding("hold")).toEqual([]);
  });

  it("S2: refuses searches beyond the bound", () => {
    const site = new Site([BETA], { searchesMax: 1 });
    site.step(want());
    expect(site.step(want({ vm: "01900000-0000-7000-8000-00000000bbbb" }))).toMatchObject([
      { kind: "not-placed", refusal: { reason: "too-many-searches" } },
    ]);
  });

  it("shows the table for a spec without asking anybody", () => {
    const site = searching([BETA, GAMMA]);
    const views = site.machine.candidates(SPEC, borrowerEnv({ nowMs: site.nowMs, peerings: () => [BETA, GAMMA] }));
    expect(views).toMatchObject([
      { name: "gamma.test", verdict: "possible" },
      { name: "beta.test", verdict: "possible" },
    ]);
  });
});

describe("borrower: peers", () => {
  it("asks each peer for its offer every ten seconds and knows who answers", () => {
    const site = new Site([BETA, GAMMA]);
    site.step({ kind: "tick" });
    site.answer("offer-query", { kind: "offer", body: offer({}) }, "beta.test");
    site.unknown("offer-query", 5_000);
    expect([...site.machine.standing()]).toMatchObject([
      { domain: "beta.test", reachable: "yes", lastHeardMs: START },
      { domain: "gamma.test", reachable: "no" },
    ]);
    site.untilSent("offer-query");
    expect(site.nowMs).toBe(START + 10_000);
  });

  it("does not ask peers that neither help nor have anything of ours", () => {
    const site = new Site([{ ...BETA, borrow: false }]);
    site.step({ kind: "tick" });
    expect(site.asked).toEqual([]);
    expect(site.machine.nextDueMs()).toBeGreaterThan(site.nowMs);
  });
});

describe("borrower: after a start", () => {
  it.each([
    ["holding", "hold"],
    ["leasing", "lease"],
    ["leased", "renew"],
    ["releasing", "release"],
  ] as const)("B1, B2: asks about an exchange that is %s, under its id", (stage, kind) => {
    const site = new Site([BETA]);
    site.load([{ ...lent(1), stage }]);
    expect(site.machine.nextDueMs()).toBe(0);
    site.step({ kind: "tick" });
    const { request } = site.sent(kind);
    const id =
      request.kind === "renew" ? request.body.leases[0]?.id : "id" in request.body ? request.body.id : undefined;
    expect(id).toBe(lent(1).id);
  });

  it("goes on with the search of a hold that is refused after the start", () => {
    const site = new Site([BETA, GAMMA]);
    site.load([{ ...lent(1), stage: "holding", vmPhase: undefined, revision: 0 }]);
    site.step({ kind: "tick" });
    site.answerOffers({});
    site.refuse("hold", refusal("conflict", "exchange-over", "voided here"));
    expect(site.sent("hold").peer).toBe("gamma.test");
  });

  it("forgets closed exchanges after their time", () => {
    const site = new Site([BETA]);
    site.load([{ ...lent(1), stage: "closed", changedAtMs: START - 3_599_999 }]);
    site.step({ kind: "tick" });
    expect([...site.machine.records()]).toHaveLength(1);
    site.nowMs += 1;
    site.step({ kind: "tick" });
    expect(site.changes).toEqual([{ kind: "forget", peer: "beta.test", id: lent(1).id }]);
  });
});

const BETA: Peering = PEERING;
const GAMMA: Peering = { ...PEERING, domain: "gamma.test" };

type Sent = BorrowerEffect & { readonly kind: "send" };
type Kind = BurstRequest["kind"];

/** Drives one borrower by hand: time, answers and what it asked. */
class Site {
  nowMs = START;
  readonly asked: Sent[] = [];
  readonly changes: unknown[] = [];
  machine: Borrower;
  readonly #peerings: readonly Peering[];
  readonly #open = new Map<string, Sent>();

  constructor(peerings: readonly Peering[], timing: { readonly searchesMax?: number } = {}) {
    this.#peerings = peerings;
    this.machine = createBorrower(timing);
  }

  load(records: readonly BorrowRecord[]): void {
    this.machine.load(records);
  }

  step(event: BorrowerEvent): readonly BorrowerEffect[] {
    const env = borrowerEnv({ nowMs: this.nowMs, peerings: () => this.#peerings });
    const { changes, effects } = this.machine.step(event, env);
    this.changes.push(...changes);
    for (const effect of effects) {
      if (effect.kind !== "send") continue;
      this.asked.push(effect);
      this.#open.set(effect.call, effect);
    }
    return effects;
  }

  outstanding(kind: Kind): Sent[] {
    return [...this.#open.values()].filter(({ request }) => request.kind === kind);
  }

  /** The latest question of this kind that waits for its answer. */
  sent(kind: Kind, peer?: string): Sent {
    const sent = this.outstanding(kind)
      .filter((call) => peer === undefined || call.peer === peer)
      .at(-1);
    if (sent === undefined) throw new Error(`no ${kind} is under way`);
    return sent;
  }

  end(sent: Sent, outcome: BurstOutcome): readonly BorrowerEffect[] {
    this.#open.delete(sent.call);
    return this.step({ kind: "answer", peer: sent.peer, call: sent.call, outcome });
  }

  answer(kind: Kind, answer: BurstAnswer | ((site: Site) => BurstAnswer), peer?: string): readonly BorrowerEffect[] {
    const body = typeof answer === "function" ? answer(this) : answer;
    return this.end(this.sent(kind, peer), { kind: "answered", answer: body });
  }

  answerOffers(part: Partial<Offer>): readonly BorrowerEffect[] {
    return this.outstanding("offer-query").flatMap((sent) =>
      this.end(sent, { kind: "answered", answer: { kind: "offer", body: offer(part) } }),
    );
  }

  refuse(kind: Kind, why: typeof FULL): readonly BorrowerEffect[] {
    return this.end(this.sent(kind), { kind: "refused", refusal: why });
  }

  unknown(kind: Kind, afterMs: number): void {
    this.nowMs += afterMs;
    this.end(this.sent(kind), { kind: "unknown" });
  }

  unknownAll(): void {
    for (const sent of [...this.#open.values()]) this.end(sent, { kind: "unknown" });
  }

  notice(said: LeaseState, peer = "beta.test"): void {
    this.step({ kind: "notice", peer, notice: { states: [said] } });
  }

  /** Goes to the next thing that is due and does it. */
  due(): void {
    this.nowMs = Math.max(this.nowMs, this.machine.nextDueMs() ?? this.nowMs);
    this.step({ kind: "tick" });
  }

  /** Goes on in time until such a question is asked; offers are not answered on the way. */
  untilSent(kind: Kind): void {
    for (let round = 0; round < 20 && this.outstanding(kind).length === 0; round += 1) this.due();
  }

  record(): BorrowRecord | undefined {
    return this.machine.exchangeOf(VM);
  }

  id(): string {
    return this.record()?.id ?? "";
  }
}

/** A site whose VM asks its best peer for a hold. */
function searching(peerings: readonly Peering[] = [BETA]): Site {
  const site = new Site(peerings);
  site.step(want());
  site.answerOffers({});
  return site;
}

function leasedSite(peerings: readonly Peering[] = [BETA]): Site {
  const site = searching(peerings);
  site.answer("hold", heldAnswer(site));
  site.answer("lease", leasedAnswer(site));
  return site;
}

function offer(part: Partial<Offer>): Offer {
  const base = { accepting: true, free: SITE, largest: SITE, leaseMsMax: 300_000, images: ["debian-12"] };
  return { ...base, revision: 0, agent: "muster", ...part };
}

function heldAnswer(site: Site): BurstAnswer {
  return { kind: "held", body: { id: site.id(), remainingMs: 30_000, leaseMsMax: 300_000 } };
}

function leasedAnswer(site: Site, remainingMs = 60_000): BurstAnswer {
  return { kind: "leased", body: { state: state(site, { revision: 2, stage: "leased", vm: "queued", remainingMs }) } };
}

function released(stage: "voided" | "released") {
  return (site: Site): BurstAnswer => ({ kind: "released", body: { state: state(site, { revision: 8, stage }) } });
}

function renewed(states: readonly LeaseState[]): BurstAnswer {
  return { kind: "renewed", body: { leases: states.map((said) => ({ id: said.id, state: said })) } };
}

function state(site: Site, part: Partial<LeaseState>): LeaseState {
  return { id: site.id(), revision: 1, stage: "leased", remainingMs: 0, ...part };
}

function lease(id: string, part: Partial<LeaseState> = {}): LeaseState {
  return { id, revision: 2, stage: "leased", vm: "running", remainingMs: 30_000, ...part };
}

/** A stored exchange at beta that is leased. */
function lent(index: number): BorrowRecord {
  const tail = index.toString(16).padStart(12, "0");
  const { kind: _, ...wanted } = want({ vm: `01900000-0000-7000-9000-${tail}` });
  return {
    ...wanted,
    id: `01900000-0000-7000-a000-${tail}`,
    peer: "beta.test",
    digest: "0".repeat(64),
    stage: "leased",
    wanted: "running",
    expiresAtMs: START + 30_000,
    overAtMs: START + 200_000,
    renewals: 0,
    revision: 1,
    vmPhase: "running",
    changedAtMs: START,
  };
}
