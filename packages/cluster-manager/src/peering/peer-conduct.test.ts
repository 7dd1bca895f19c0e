import type { Offence } from "@muster/broker";
import { describe, expect, it } from "vitest";
import { ADMIN, peering } from "../core/scripted-site.fixture.ts";
import { BETA, PeeringSite } from "./peering-site.fixture.ts";

const shown = (site: PeeringSite) => site.core.views.peers(site.nowMs).find(({ domain }) => domain === BETA);

function offend(site: PeeringSite, offence: Offence, count = 1, peer = BETA): void {
  site.step({ kind: "peer-offence", peer, offence, message: `${offence} it was`, count });
}

function setRule(site: PeeringSite, suspendAfter: { offences: number; withinMs: number }): void {
  site.ask({ kind: "peer-policy", actor: ADMIN, domain: BETA, lend: { suspendAfter } });
}

describe("conduct of peers in the core", () => {
  it("shows offences, and keeps them over a restart", () => {
    const site = PeeringSite.peered();
    expect(shown(site)?.conduct).toBeUndefined();
    offend(site, "signature", 3);
    offend(site, "flood", 40);
    site.restart();
    expect(shown(site)).toMatchObject({
      state: "active",
      conduct: {
        reliability: 1,
        offences: { signature: 3, flood: 40, malformed: 0, receipt: 0 },
        lastOffence: { kind: "flood", message: "flood it was" },
      },
    });
  });

  it("suspends nobody where no admin set a rule", () => {
    const site = PeeringSite.peered();
    offend(site, "signature", 900);
    expect(site.state()).toBe("active");
  });

  it("suspends by the admin's rule, tells the partner why, and begins anew after a resume", () => {
    const site = PeeringSite.peered();
    setRule(site, { offences: 3, withinMs: 60_000 });
    site.sent.length = 0;
    offend(site, "signature", 2);
    expect(site.state()).toBe("active");
    offend(site, "receipt");
    expect(shown(site)).toMatchObject({
      state: "suspended",
      reason: "by rule: 3 false signatures or receipts within 60 s, last: receipt it was",
    });
    site.change("resume");
    expect(site.state()).toBe("active");
    offend(site, "signature");
    expect(site.state()).toBe("active");
  });

  it("counts no older offences than the rule says", () => {
    const site = PeeringSite.peered();
    setRule(site, { offences: 2, withinMs: 10_000 });
    offend(site, "signature");
    site.pass(10_001);
    offend(site, "signature");
    expect(site.state()).not.toBe("suspended");
  });

  it("S2: keeps nothing of a domain that is no peer", () => {
    const site = PeeringSite.peered();
    offend(site, "signature", 1, "gamma.test");
    expect([...site.store.keys()].filter((key) => key.startsWith("conduct/"))).toEqual([]);
  });
});

describe("a peering of the configuration", () => {
  const configured = () => {
    const lend = { ...peering(BETA).lend, suspendAfter: { offences: 1, withinMs: 60_000 } };
    return new PeeringSite({ peerings: [{ ...peering(BETA), lend }] });
  };

  it.each(["suspend", "drain"] as const)(
    "B5: is halted at run time by %s, over a restart, until it is resumed",
    (verb) => {
      const site = configured();
      const state = verb === "suspend" ? "suspended" : "draining";
      expect(site.change(verb, "too many of them")).toMatchObject({ kind: "peer" });
      site.restart();
      expect(shown(site)).toMatchObject({ state, reason: "too many of them", source: "config" });
      expect(site.core.views.peering(BETA, site.nowMs)?.state).toBe(state);
      site.change("resume");
      expect(site.core.views.peering(BETA, site.nowMs)?.state).toBe("active");
    },
  );

  it("is suspended by its rule, too", () => {
    const site = configured();
    offend(site, "signature");
    expect(shown(site)).toMatchObject({ state: "suspended", reason: expect.stringContaining("by rule: 1 false") });
  });

  it("is left in the configuration only, and stays as that holds it", () => {
    expect(configured().change("leave")).toMatchObject({
      kind: "refused",
      refusal: { reason: "configured-peer", message: expect.stringContaining("muster peer suspend beta.test") },
    });
    const off = new PeeringSite({ peerings: [{ ...peering(BETA), state: "suspended" }] });
    expect(off.change("resume")).toMatchObject({ kind: "refused", refusal: { reason: "configured-peer" } });
  });
});
