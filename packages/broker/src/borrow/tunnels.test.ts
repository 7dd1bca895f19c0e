import { describe, expect, it } from "vitest";
import { want } from "../broker.fixture.ts";
import { AWAY_END, GATEWAY_END, OTHER_GATEWAY, WISH } from "../tunnel.fixture.ts";
import { BETA, FULL, GAMMA, heldAnswer, leasedAnswer, renewed, Site, state } from "./borrower.fixture.ts";
import type { BorrowRecord } from "./borrower-contract.ts";

function looking(peerings = [BETA]): Site {
  const site = new Site(peerings);
  site.step(want({ tunnel: WISH }));
  site.answerOffers({ tunnels: true });
  return site;
}

function recordOf(site: Site): BorrowRecord {
  const record = site.record();
  if (record === undefined) throw new Error("no exchange");
  return record;
}

function opened(): Site {
  const site = looking();
  site.answer("hold", heldAnswer(site));
  site.step({ kind: "tunnel-open", id: site.id(), own: GATEWAY_END });
  return site;
}

function running(): Site {
  const site = opened();
  site.answer("lease", leasedAnswer(site));
  return site;
}

describe("borrower: a VM that is to be on its home network", () => {
  it("says so with the hold, and asks for the lease once a gateway has its end of the tunnel", () => {
    const site = looking();
    expect(site.sent("hold").request).toMatchObject({ body: { tunnel: "reachable" } });
    site.answer("hold", heldAnswer(site));
    expect(site.outstanding("lease")).toEqual([]);
    site.step({ kind: "tunnel-open", id: site.id(), own: GATEWAY_END });
    const { reach: _, ...rest } = WISH;
    expect(site.sent("lease").request).toMatchObject({ body: { tunnel: { ...rest, end: GATEWAY_END } } });
    expect(recordOf(site)).toMatchObject({ tunnel: { own: GATEWAY_END } });
  });

  it("P4: is not asked of a peer that offers no tunnels", () => {
    const site = new Site([BETA]);
    site.step(want({ tunnel: WISH }));
    const effects = site.answerOffers({});
    const candidates = [expect.objectContaining({ name: BETA.domain, reason: "no-tunnels" })];
    expect(effects).toContainEqual(expect.objectContaining({ kind: "not-placed", candidates }));
  });

  it("gives the hold back when no gateway opens one, at once or in time (B2)", () => {
    const failed = looking();
    failed.answer("hold", heldAnswer(failed));
    failed.step({ kind: "tunnel-failed", id: failed.id(), reason: "no gateway of this site is ready" });
    expect(failed.record()).toMatchObject({ stage: "releasing", reason: "no gateway of this site is ready" });
    const silent = looking();
    silent.answer("hold", heldAnswer(silent));
    silent.untilSent("release");
    expect(silent.record()).toMatchObject({ stage: "releasing", reason: "no gateway opened a tunnel in time" });
  });

  it("goes on to the next peer with the same wish", () => {
    const site = looking([BETA, GAMMA]);
    const first = recordOf(site).peer;
    site.refuse("hold", FULL);
    expect(recordOf(site)).toMatchObject({ tunnel: WISH });
    expect(recordOf(site).peer).not.toBe(first);
  });

  it("takes in where the lender's end is, again when it moves, and only by a newer revision", () => {
    const site = running();
    expect(recordOf(site).tunnel).toMatchObject({ own: GATEWAY_END });
    const states = [state(site, { revision: 4, stage: "leased", vm: "running", tunnel: AWAY_END })];
    site.step({ kind: "notice", peer: BETA.domain, notice: { states } });
    expect(recordOf(site).tunnel).toMatchObject({ other: AWAY_END });
    const late = [state(site, { revision: 3, stage: "leased", vm: "running", tunnel: OTHER_GATEWAY })];
    site.step({ kind: "notice", peer: BETA.domain, notice: { states: late } });
    expect(recordOf(site).tunnel).toMatchObject({ other: AWAY_END });
  });

  it("tells the lender of another gateway with the next renewal, which is due at once, until it is told", () => {
    const site = running();
    site.step({ kind: "tunnel-open", id: site.id(), own: OTHER_GATEWAY });
    const leases = [{ tunnel: OTHER_GATEWAY }];
    expect(site.sent("renew").request).toMatchObject({ body: { leases } });
    site.answer("renew", renewed([state(site, { revision: 2, stage: "leased", remainingMs: 60_000 })]));
    site.untilSent("renew");
    const again = site.sent("renew").request;
    expect(again.kind === "renew" && again.body.leases[0]?.tunnel).toBe(undefined);
  });

  it("after a start, asks for the lease only with the end that is known, and tells the lender of it again", () => {
    const site = running();
    site.load([recordOf(site)]);
    site.step({ kind: "tick" });
    expect(site.sent("renew").request).toMatchObject({ body: { leases: [{ tunnel: GATEWAY_END }] } });
  });
});
