import type { Offer } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { borrowerEnv, SITE, SPEC, want } from "../broker.fixture.ts";
import { BETA, FULL, GAMMA, offer, Site, searching, VM } from "./borrower.fixture.ts";

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

  it("P4: says which side holds a peering as other than active", () => {
    for (const [change, reason] of [
      [{ state: "draining" }, "peering-draining"],
      [{ partnerState: "suspended" }, "peer-suspended"],
      [{ partnerState: "draining" }, "peer-draining"],
    ] as const)
      expect(new Site([{ ...BETA, ...change }]).step(want())).toMatchObject([
        { kind: "not-placed", candidates: [{ reason }] },
      ]);
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
