/** Two sites with the real halves of the broker: a VM goes from one to the other and back. */
import { describe, expect, it } from "vitest";
import { ALPHA, BETA, Federation } from "./scripted-federation.fixture.ts";
import { ANN, SMALL } from "./scripted-site.fixture.ts";

function full(): Federation {
  const both = new Federation();
  both.alpha.create({ name: "fill", count: 4 });
  both.exchange();
  return both;
}

describe("burst", () => {
  it("places at the peer what does not fit at home, shows it on both sides, renews and releases it", () => {
    const both = full();
    both.alpha.create({ name: "away", burst: "allow", leaseMs: 20_000 });
    both.exchange();
    both.advance(2_000);
    const away = both.alpha.vm("away");
    expect(away).toMatchObject({ phase: "running", place: { kind: "peer", peer: BETA }, address: "192.0.2.7" });
    expect(both.beta.vm("away")).toMatchObject({
      id: away.id,
      phase: "running",
      origin: { kind: "peer", peer: ALPHA },
    });
    expect(both.alpha.core.views.leases(both.alpha.nowMs)).toMatchObject([
      { role: "borrower", vm: away.id, stage: "leased" },
    ]);
    expect(both.beta.core.views.leases(both.beta.nowMs)).toMatchObject([
      { role: "lender", vm: away.id, stage: "leased" },
    ]);
    both.advance(60_000);
    expect(both.alpha.vm("away").phase).toBe("running");
    expect(both.beta.core.views.leases(both.beta.nowMs)[0]?.renewals).toBeGreaterThan(1);
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "away" });
    both.advance(5_000);
    expect(both.alpha.vm("away").phase).toBe("deleted");
    expect(both.beta.vm("away").phase).toBe("deleted");
    expect(both.beta.core.views.site(both.beta.nowMs).used.vcpus).toBe(0);
  });

  it("stops and starts a VM at its peer", () => {
    const both = full();
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(3_000);
    both.alpha.ask({ kind: "vm-action", actor: ANN, vm: "away", action: "stop" });
    both.advance(5_000);
    expect([both.alpha.vm("away").phase, both.beta.vm("away").phase]).toEqual(["stopped", "stopped"]);
    both.alpha.ask({ kind: "vm-action", actor: ANN, vm: "away", action: "start" });
    both.advance(5_000);
    expect([both.alpha.vm("away").phase, both.beta.vm("away").phase]).toEqual(["running", "running"]);
  });

  it("sends burst-only VMs out although there is room, and never those that may not burst", () => {
    const both = new Federation();
    both.alpha.create({ name: "away", burst: "only" });
    both.alpha.create({ name: "here" });
    both.advance(3_000);
    expect(both.alpha.vm("away").place.kind).toBe("peer");
    expect(both.alpha.vm("here").place.kind).toBe("host");
    both.alpha.create({ name: "fill", count: 5 });
    both.advance(3_000);
    expect(both.alpha.core.views.queue(both.alpha.nowMs)).toHaveLength(2);
  });

  it("B2: a VM in an exchange is not placed at home, even when home comes free and the peer is silent", () => {
    const both = full();
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(2_000);
    expect(both.alpha.vm("away").place.kind).toBe("peer");
    both.cut = true;
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "fill-1" });
    both.advance(10_000);
    expect(both.alpha.vm("away").place.kind).toBe("peer");
  });

  it("P4: tells peer by peer why nobody takes a VM, and it goes on waiting at home", () => {
    const both = full();
    both.beta.create({ name: "own", count: 8 });
    both.exchange();
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(5_000);
    const why = both.alpha.core.views.why("away", both.alpha.nowMs);
    expect(why?.phase).toBe("queued");
    expect(why?.summary).toMatch(/no host takes it: 1 lacks-vcpus; no peer takes the VM now: /);
    expect(why?.candidates.map(({ kind, name, verdict }) => `${kind} ${name} ${verdict}`)).toEqual([
      "host h1 refused",
      `peer ${BETA} refused`,
    ]);
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "fill-1" });
    both.advance(1_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "host" } });
  });

  it("B4: a lease that is not renewed ends at its lender, and the VM comes back to the queue", () => {
    const both = full();
    both.alpha.create({ name: "away", burst: "allow", leaseMs: 10_000 });
    both.advance(3_000);
    expect(both.beta.vm("away").phase).toBe("running");
    both.cut = true;
    both.advance(240_000);
    expect(both.beta.vm("away").phase).toBe("deleted");
    expect(both.alpha.vm("away").phase).toBe("queued");
    both.cut = false;
    both.advance(90_000);
    expect(both.alpha.vm("away").phase).toBe("running");
    expect(new Set(both.beta.hosts.get("k1")?.started.concat(both.beta.hosts.get("k2")?.started ?? []))).toHaveLength(
      2,
    );
  });

  it("P2: room of a hold is promised to nobody else", () => {
    const both = full();
    both.beta.create({ name: "own", count: 6 });
    both.exchange();
    both.alpha.create({ name: "away", burst: "allow" });
    // Only the questions up to the hold go through.
    for (let turns = 0; turns < 6 && both.beta.core.views.leases(both.beta.nowMs).length === 0; turns += 1) {
      both.alpha.advance(500);
      const [send] = both.alpha.outward.splice(0, 1);
      if (send?.kind !== "peer-send") continue;
      const answer = both.beta.ask({ kind: "peer-request", peer: ALPHA, request: send.request });
      if (answer?.kind !== "burst") continue;
      if (send.request.kind === "hold") break;
      both.alpha.step({
        kind: "peer-answer",
        peer: BETA,
        call: send.call,
        outcome: { kind: "answered", answer: answer.answer },
      });
    }
    expect(both.beta.core.views.leases(both.beta.nowMs)).toMatchObject([{ role: "lender", stage: "held" }]);
    // P4: nobody speaks of a lease before the peer has granted one.
    expect(both.alpha.core.views.why("away", both.alpha.nowMs)?.candidates).toMatchObject([
      { name: BETA, verdict: "chosen", message: "its exchange with this peer is open" },
    ]);
    both.beta.create({ name: "more", count: 2 });
    both.beta.flow();
    const after = () => [both.beta.vm("more-1").phase, both.beta.vm("more-2").phase];
    expect(after()).toEqual(["running", "queued"]);
    // Nor while its host was not heard for a while: whoever waits is behind it when the host is back.
    both.beta.setLink(false);
    both.beta.advance(12_000);
    both.beta.setLink(true);
    both.beta.advance(2_000);
    expect(both.beta.core.views.leases(both.beta.nowMs)).toMatchObject([{ stage: "held" }]);
    expect(after()).toEqual(["running", "queued"]);
  });

  it("home first: lends no room while one of its own has waited for it beyond patience", () => {
    const both = full();
    both.beta.create({ name: "own", count: 8 });
    both.beta.create({ name: "large", spec: { ...SMALL, vcpus: 8 } });
    both.exchange();
    both.advance(601_000);
    both.beta.ask({ kind: "vm-delete", actor: ANN, vm: "own-1" });
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(5_000);
    expect(both.beta.core.views.host("k1", both.beta.nowMs)?.free.vcpus).toBe(2);
    expect(both.alpha.vm("away").phase).toBe("queued");
    expect(both.alpha.core.views.why("away", both.alpha.nowMs)?.summary).toContain("own VMs have waited too long");
  });

  it("B2: a VM that finds room at home while peers are looked at is asked of none of them", () => {
    const both = full();
    // No offer of the peer is fresh any more, so that the search has to wait for one.
    both.cut = true;
    both.advance(10_000);
    both.alpha.create({ name: "away", burst: "allow" });
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "fill-1" });
    both.alpha.flow();
    expect(both.alpha.vm("away").place.kind).toBe("host");
    both.cut = false;
    both.advance(10_000);
    const asked = both.alpha.effects.flatMap((effect) => (effect.kind === "peer-send" ? [effect.request.kind] : []));
    expect(asked).not.toContain("hold");
    expect(both.alpha.vm("away").phase).toBe("running");
  });

  it("takes up its exchanges again after a restart of either side", () => {
    const both = full();
    both.alpha.create({ name: "away", burst: "allow", leaseMs: 20_000 });
    both.advance(3_000);
    both.alpha.restart();
    both.beta.restart();
    both.advance(60_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "peer" } });
    expect(both.beta.vm("away")).toMatchObject({ phase: "running", attempt: 1 });
  });

  it("withdraws a VM while peers are asked for it", () => {
    const both = full();
    both.alpha.create({ name: "away", burst: "allow" });
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "away" });
    both.advance(20_000);
    expect(["cancelled", "deleted"]).toContain(both.alpha.vm("away").phase);
    expect(both.beta.core.views.vms().filter(({ phase }) => phase === "running")).toEqual([]);
    expect(both.alpha.core.views.leases(both.alpha.nowMs)).toEqual([]);
  });
});
