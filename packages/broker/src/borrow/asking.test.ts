import { NO_RESOURCES, refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { borrowerEnv, SPEC, want } from "../broker.fixture.ts";
import {
  BETA,
  FULL,
  GAMMA,
  heldAnswer,
  lent,
  offer,
  released,
  Site,
  START,
  searching,
  state,
  VM,
} from "./borrower.fixture.ts";

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

describe("borrower: presence of peers", () => {
  const CLOSED = { accepting: false, free: NO_RESOURCES, classes: [], maintenance: { reason: "new switches" } };

  it("asks none for an offer that shows it takes nothing in, and says so with its reason", () => {
    const site = new Site([BETA, GAMMA]);
    site.step({ kind: "presence", peer: "beta.test", presence: CLOSED });
    site.nowMs += 1;
    site.step(want());
    expect(site.outstanding("offer-query").map(({ peer }) => peer)).toEqual(["gamma.test"]);
    site.answerOffers({ accepting: false, reason: "full" });
    const table = site.machine.candidates(SPEC, borrowerEnv({ nowMs: site.nowMs, peerings: () => [BETA, GAMMA] }));
    expect(table).toContainEqual(
      expect.objectContaining({
        name: "beta.test",
        reason: "maintenance",
        message: expect.stringMatching(/new switches/),
      }),
    );
  });

  it("asks it at once when it shows that it takes something in again, and believes an offer that is newer", () => {
    const site = new Site([BETA]);
    site.step({ kind: "tick" });
    site.answerOffers({});
    site.nowMs += 10;
    site.step({ kind: "presence", peer: "beta.test", presence: CLOSED });
    const { maintenance: _over, ...rest } = CLOSED;
    site.step({ kind: "presence", peer: "beta.test", presence: { ...rest, accepting: true } });
    site.nowMs += 10;
    site.step({ kind: "tick" });
    expect(site.outstanding("offer-query")).toHaveLength(1);
    site.step({ kind: "presence", peer: "beta.test", presence: CLOSED });
    site.nowMs += 10_000;
    site.unknownAll();
    site.step({ kind: "tick" });
    site.answerOffers({});
    site.step(want());
    expect(site.sent("hold").peer).toBe("beta.test");
  });

  it("S2: keeps nothing of who is no peer", () => {
    const site = new Site([BETA]);
    site.step({ kind: "presence", peer: "gamma.test", presence: CLOSED });
    expect([...site.machine.standing()].map(({ domain }) => domain)).not.toContain("gamma.test");
  });
});

describe("borrower: peers that do not answer", () => {
  it("waits for their offers no longer than for the others', once they were silent; alone, until its deadline", () => {
    const site = new Site([BETA, GAMMA]);
    site.step({ kind: "tick" });
    for (const sent of site.outstanding("offer-query"))
      if (sent.peer === "beta.test") site.end(sent, { kind: "unknown" });
      else site.end(sent, { kind: "answered", answer: { kind: "offer", body: offer({}) } });
    site.nowMs += 5_000;
    site.step(want());
    expect(site.outstanding("offer-query")).toHaveLength(2);
    expect(site.outstanding("hold")).toEqual([]);
    const [theirs] = site.outstanding("offer-query").filter(({ peer }) => peer === "gamma.test");
    if (theirs !== undefined) site.end(theirs, { kind: "answered", answer: { kind: "offer", body: offer({}) } });
    expect(site.sent("hold").peer).toBe("gamma.test");
    const alone = new Site([BETA]);
    alone.step({ kind: "tick" });
    alone.unknownAll();
    alone.nowMs += 5_000;
    expect(alone.step(want()).some(({ kind }) => kind === "not-placed")).toBe(false);
    alone.answerOffers({});
    expect(alone.sent("hold").peer).toBe("beta.test");
  });
});
