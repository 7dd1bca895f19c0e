/** What a lender tells its hosts of leases, and what it tells the borrower of its hosts. */
import { describe, expect, it } from "vitest";
import { ALPHA, BETA, Federation } from "./scripted-federation.fixture.ts";
import { POLICY } from "./scripted-site.fixture.ts";

const LEASE_MS = 20_000;

/** A VM of alpha that runs at beta. */
function lent(): Federation {
  const both = new Federation();
  both.alpha.create({ name: "fill", count: 4 });
  both.exchange();
  both.alpha.create({ name: "away", burst: "allow", leaseMs: LEASE_MS });
  both.exchange();
  both.advance(2_000);
  expect(both.beta.vm("away").phase).toBe("running");
  return both;
}

function commandsOf(both: Federation) {
  return both.beta.effects.flatMap((effect) => (effect.kind === "command" ? [effect] : []));
}

function hostOf(both: Federation) {
  const { place } = both.beta.vm("away");
  const host = place.kind === "host" ? both.beta.hosts.get(place.host) : undefined;
  if (host === undefined) throw new Error("it runs on a host of beta");
  return host;
}

describe("a lender and its hosts", () => {
  it("B4: the start of a lent VM says how long it may run, lease and grace, from the last report of its host", () => {
    const both = lent();
    const start = commandsOf(both).find(({ command }) => command.action === "start");
    const { bootId } = hostOf(both);
    expect(start?.command.lease).toMatchObject({ bootId });
    const durationMs = start?.command.lease?.durationMs ?? 0;
    expect(durationMs).toBeGreaterThanOrEqual(LEASE_MS + POLICY.timing.leaseGraceMs);
    // The report was heard at most one of its gaps before.
    expect(durationMs).toBeLessThanOrEqual(LEASE_MS + POLICY.timing.leaseGraceMs + 500);
  });

  it("B4: tells the host of every renewal, once, and nothing where there was none", () => {
    const both = lent();
    const renewals = () => commandsOf(both).filter(({ command }) => command.action === "renew").length;
    const granted = () => both.beta.core.views.leases(both.beta.nowMs)[0]?.renewals ?? 0;
    const [before, grantedBefore] = [renewals(), granted()];
    both.advance(45_000);
    expect(granted() - grantedBefore).toBeGreaterThan(2);
    expect(renewals() - before).toBe(granted() - grantedBefore);
    both.cut = true;
    const last = renewals();
    both.advance(5_000);
    expect(renewals()).toBe(last);
  });

  it("B4: a successor tells the host anew, for it does not know what the host has heard", () => {
    const both = lent();
    both.cut = true;
    const told = commandsOf(both).length;
    both.beta.restart();
    both.beta.advance(1_000);
    expect(
      commandsOf(both)
        .slice(told)
        .filter(({ command }) => command.action === "renew"),
    ).toHaveLength(1);
  });

  it("B4: a renewal that nobody answers goes out again with what is left of the same end", () => {
    const both = lent();
    const host = hostOf(both);
    both.cut = true;
    host.up = false;
    both.beta.restart();
    both.beta.advance(200);
    host.up = true;
    both.beta.loss = 1;
    both.beta.advance(100);
    both.beta.loss = 0;
    both.beta.advance(5_000);
    const renewals = commandsOf(both).filter(({ command }) => command.action === "renew");
    expect(renewals.length).toBeGreaterThanOrEqual(1);
    for (const { command } of renewals) expect(command.lease?.durationMs).toBeLessThanOrEqual(LEASE_MS + 10_000);
  });

  it("B5, S3: the borrower hears of the site, never of its hosts, and of nothing that is over", () => {
    const both = lent();
    const host = hostOf(both);
    const reason = () => both.alpha.vm("away").reason;
    host.up = false;
    both.advance(10_000);
    expect(both.beta.vm("away").reason).toContain(host.name);
    expect(reason()).toBe("its host is not heard");
    host.up = true;
    both.advance(5_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running" });
    expect(reason()).toBeUndefined();
    host.fail(both.beta.vm("away").id);
    both.advance(5_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "peer", peer: BETA } });
    expect(reason()).toBeUndefined();
    const said = both.beta.effects.flatMap((effect) => (effect.kind === "peer-notify" ? [effect] : []));
    expect(said.length).toBeGreaterThan(0);
    expect(JSON.stringify(said)).not.toMatch(/"reason":"[^"]*\bk[12]\b/);
    expect(said.every(({ peer }) => peer === ALPHA)).toBe(true);
  });
});
