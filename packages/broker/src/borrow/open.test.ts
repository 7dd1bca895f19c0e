import { describe, expect, it } from "vitest";
import { newId, want } from "../broker.fixture.ts";
import { BETA, FULL, GAMMA, Site, VM } from "./borrower.fixture.ts";

describe("borrower: an exchange for a VM that goes over alive", () => {
  const id = newId();
  function opened(): Site {
    const site = new Site([BETA, GAMMA]);
    const { kind: _, ...wish } = want();
    site.step({ kind: "open", id, peer: BETA.domain, want: wish });
    return site;
  }

  it("opens it at the peer that was named, under the id that was given, and says that the VM comes over", () => {
    const site = opened();
    expect(site.sent("hold").request.body).toMatchObject({ id, incoming: true, vm: VM });
    expect(site.machine.exchangeOf(VM)).toMatchObject({ id, peer: BETA.domain, incoming: true, stage: "holding" });
  });

  it("P1: asks nobody else when it comes to nothing: the VM stays where it runs", () => {
    const site = opened();
    const effects = site.refuse("hold", FULL);
    expect(effects).toMatchObject([{ kind: "exchange-changed", record: { id, stage: "closed" } }]);
    expect(site.machine.exchangeOf(VM)).toBeUndefined();
    expect(site.outstanding("offer-query")).toEqual([]);
  });

  it("opens none beside one that is open", () => {
    const site = opened();
    const { kind: _, ...wish } = want();
    expect(site.step({ kind: "open", id: newId(), peer: GAMMA.domain, want: wish })).toEqual([]);
  });
});
