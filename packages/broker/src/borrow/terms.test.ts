import { refusal, type UnitPrices } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { want } from "../broker.fixture.ts";
import type { BurstAnswer } from "../burst-message.ts";
import {
  BETA,
  GAMMA,
  heldAnswer,
  leasedAnswer,
  leasedSite,
  released,
  renewed,
  Site,
  START,
  searching,
  state,
} from "./borrower.fixture.ts";

/** The VM of the tests has 2 vCPUs and 2 GiB: it costs 2000 an hour by these. */
const PRICES: UnitPrices = { vcpuHour: 1_000, memoryGiBHour: 0, gpuHour: 0 };
const AWAITING = refusal("resource-constraint", "awaiting-approval", "an admin has to approve it", {
  retryAfterMs: 30_000,
});

function heldAt(prices: UnitPrices) {
  return (site: Site): BurstAnswer => ({
    kind: "held",
    body: { id: site.id(), remainingMs: 30_000, leaseMsMax: 300_000, prices },
  });
}

describe("borrower: prices", () => {
  it("asks the cheaper of two peers that are alike", () => {
    const site = new Site([BETA, GAMMA]);
    site.step(want());
    const dearer = { ...PRICES, vcpuHour: 3_000 };
    for (const sent of site.outstanding("offer-query"))
      site.end(sent, {
        kind: "answered",
        answer: { kind: "offer", body: offerAt(sent.peer === "beta.test" ? dearer : PRICES) },
      });
    expect(site.sent("hold").peer).toBe("gamma.test");
  });

  it("gives a hold back whose price is above the offer's and above what its user pays, before any lease", () => {
    const site = new Site([BETA]);
    site.step(want({ maxPricePerHour: 2_000 }));
    site.answerOffers({ prices: PRICES });
    site.answer("hold", heldAt({ ...PRICES, vcpuHour: 1_001 }));
    expect(site.outstanding("lease")).toEqual([]);
    const effects = site.answer("release", released("voided"));
    site.answerOffers({ prices: PRICES });
    expect(JSON.stringify(effects)).toContain("over-price");
  });

  it("stores what it accepted, and what it cost when that is over", () => {
    const site = new Site([BETA]);
    const budget = { limit: 100_000, sinceMs: 0, endsMs: START * 100 };
    site.more = { budget: () => budget };
    site.step(want());
    site.answerOffers({ prices: PRICES });
    site.answer("hold", heldAt(PRICES));
    site.answer("lease", leasedAnswer(site));
    expect(site.record()).toMatchObject({ prices: PRICES, leasedAtMs: START });
    site.nowMs += 36_000;
    site.step({ kind: "release", vm: want().vm, reason: "done" });
    site.answer("release", released("released"));
    expect(site.changes).toContainEqual({ kind: "spent", record: { project: "default", sinceMs: 0, amount: 20 } });
  });

  it("P4: does not begin what the budget does not pay for in full, and counts what others of the project have open", () => {
    const site = new Site([BETA]);
    // A lease of a minute costs 33.
    site.more = { budget: () => ({ limit: 60, sinceMs: 0, endsMs: START * 100 }) };
    site.step(want());
    site.answerOffers({ prices: PRICES });
    site.answer("hold", heldAt(PRICES));
    site.answer("lease", leasedAnswer(site));
    const second = site.step(want({ vm: "01900000-0000-7000-8000-00000000bbbb" }));
    expect(JSON.stringify(second)).toContain("over-budget");
    expect(site.asked.filter(({ request }) => request.kind === "hold")).toHaveLength(1);
  });

  it("does not renew what the budget pays for no longer", () => {
    const site = new Site([BETA]);
    site.more = { budget: () => ({ limit: 40, sinceMs: 0, endsMs: START * 100 }) };
    site.step(want());
    site.answerOffers({ prices: PRICES });
    site.answer("hold", heldAt(PRICES));
    site.answer("lease", leasedAnswer(site));
    for (let round = 0; round < 12 && site.record()?.endsAtMs === undefined; round += 1) site.due();
    expect(site.outstanding("renew")).toEqual([]);
    expect(site.record()).toMatchObject({ stage: "leased", endReason: expect.stringContaining("may spend") });
  });
});

describe("borrower: a lender's admin has to approve", () => {
  it("B1: asks again under the same id, also after a restart, and leases it when it is held", () => {
    const site = searching();
    const first = site.id();
    site.refuse("hold", AWAITING);
    expect(site.record()).toBeUndefined();
    site.load(structuredClone([...site.machine.records()]));
    site.nowMs += 60_000;
    site.step(want());
    site.answerOffers({});
    expect(site.sent("hold").request).toMatchObject({ body: { id: first } });
    site.answer("hold", heldAnswer(site));
    site.answer("lease", leasedAnswer(site));
    expect(site.record()).toMatchObject({ id: first, stage: "leased" });
  });

  it("B1: asks under a new id when the VM's wish is another one", () => {
    const site = searching();
    const first = site.id();
    site.refuse("hold", AWAITING);
    site.nowMs += 60_000;
    site.step(want({ leaseMs: 30_000 }));
    site.answerOffers({});
    expect(site.id()).not.toBe(first);
  });

  it("goes to another peer meanwhile", () => {
    const site = searching([BETA, GAMMA]);
    const first = site.sent("hold").peer;
    site.refuse("hold", AWAITING);
    site.answerOffers({});
    expect(site.sent("hold").peer).not.toBe(first);
  });
});

describe("borrower: the lender takes the room back", () => {
  it("B4: relies on the lease no longer than it says, whatever it granted before, and shows why", () => {
    const site = leasedSite();
    const ends = state(site, {
      revision: 3,
      vm: "running",
      remainingMs: 10_000,
      endsWithinMs: 10_000,
      reason: "own users",
    });
    site.notice(ends);
    expect(site.record()).toMatchObject({
      expiresAtMs: START + 10_000,
      endsAtMs: START + 10_000,
      endReason: "own users",
    });
    site.untilSent("renew");
    const leftMs = START + 10_000 - site.nowMs;
    site.answer("renew", renewed([{ ...ends, remainingMs: Math.max(0, leftMs), endsWithinMs: Math.max(0, leftMs) }]));
    expect(site.record()?.expiresAtMs).toBeLessThanOrEqual(START + 10_000);
  });

  it("does not ask that peer again at once", () => {
    const site = leasedSite([BETA, GAMMA]);
    const peer = site.record()?.peer ?? "";
    site.notice(state(site, { revision: 3, stage: "releasing", vm: "deleting", reason: "own users" }), peer);
    site.answer("release", released("released"), peer);
    site.step(want());
    site.answerOffers({});
    expect(site.sent("hold").peer).not.toBe(peer);
  });
});

function offerAt(prices: UnitPrices) {
  const all = { vcpus: 32, memoryMiB: 65_536, diskGiB: 1_000, gpus: 0 };
  return {
    accepting: true,
    free: all,
    largest: all,
    leaseMsMax: 300_000,
    images: ["debian-12"],
    revision: 0,
    agent: "muster",
    prices,
  };
}
