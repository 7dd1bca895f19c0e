/** Hosts that are emptied and sites that are made even, by live moves. */
import { describe, expect, it } from "vitest";
import { ADMIN, ANN, type ScriptedSite } from "../core/scripted-site.fixture.ts";
import { expectAtRest, goOn, hostNamed, LONG_MS, movingHost, movingSite, stored } from "./moving-site.fixture.ts";

const GUEST = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5 };

function drain(alpha: ScriptedSite, host: string, policy: "keep" | "migrate" | "restart") {
  return alpha.ask({ kind: "host-drain", actor: ADMIN, host, draining: true, policy });
}

function undrain(alpha: ScriptedSite, host: string) {
  return alpha.ask({ kind: "host-drain", actor: ADMIN, host, draining: false });
}

/** Everything runs on h1, which is alone; then the others come. */
function crowded(vms: number, others: readonly string[] = ["h2"]): ScriptedSite {
  const alpha = movingSite(["h1"]);
  for (let number = 1; number < vms; number += 1) alpha.create({ name: `vm-${number}`, spec: GUEST });
  alpha.advance(1_000);
  for (const name of others) alpha.add(movingHost(name));
  alpha.advance(1_000);
  return alpha;
}

function placedOn(alpha: ScriptedSite, host: string): string[] {
  return alpha.core.views
    .vms()
    .filter(({ place, phase }) => place.kind === "host" && place.host === host && phase === "running")
    .map(({ name }) => name);
}

function balance(alpha: ScriptedSite, dryRun: boolean, movesMax = 4) {
  const answer = alpha.ask({ kind: "site-balance", actor: ADMIN, dryRun, movesMax });
  if (answer?.kind !== "balance") throw new Error(`answered ${JSON.stringify(answer)}`);
  return answer.view.moves;
}

describe("a host that is drained", () => {
  it("keeps its VMs by the policy `keep`, and takes no new ones", () => {
    const alpha = movingSite();
    drain(alpha, "h1", "keep");
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h1");
    alpha.create({ name: "other" });
    alpha.flow();
    expect(alpha.vm("other").place).toMatchObject({ host: "h2" });
  });

  it("S2: is empty in the end by the policy `migrate`, two moves at a time, with everything running on", () => {
    const alpha = crowded(5);
    let most = 0;
    const { check } = alpha;
    alpha.check = (step) => {
      check(step);
      most = Math.max(most, alpha.core.views.vms().filter(({ move }) => move !== undefined).length);
    };
    drain(alpha, "h1", "migrate");
    alpha.advance(LONG_MS);
    expect(placedOn(alpha, "h1")).toEqual([]);
    expect(placedOn(alpha, "h2")).toHaveLength(5);
    expect(most).toBe(2);
    for (const vm of placedOn(alpha, "h2")) expectAtRest(alpha, "h2", vm);
    for (const { state } of hostNamed(alpha, "h1").list()) expect(state).toBe("gone");
  });

  it("says of each VM that cannot be moved why, and no longer once it is taken back", () => {
    const alpha = movingSite();
    hostNamed(alpha, "h1").moves = false;
    alpha.advance(1_000);
    drain(alpha, "h1", "migrate");
    alpha.advance(5_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", place: { host: "h1" } });
    expect(alpha.vm("web").reason).toContain("h1 is being drained, and it is still there: h1 does not move VMs alive");
    undrain(alpha, "h1");
    expect(alpha.vm("web").reason).toBeUndefined();
  });

  it("starts anew elsewhere by the policy `restart` what cannot be moved, once the host has said that it is gone (P1)", () => {
    const alpha = crowded(3);
    for (const host of alpha.hosts.values()) host.moves = false;
    alpha.advance(1_000);
    drain(alpha, "h1", "restart");
    alpha.advance(LONG_MS);
    expect(placedOn(alpha, "h1")).toEqual([]);
    expect(placedOn(alpha, "h2")).toHaveLength(3);
    expect(alpha.vm("web")).toMatchObject({ attempt: 2, phase: "running" });
    expect(stored(alpha)).not.toHaveProperty("evicted");
  });

  it("ends nothing by the policy `restart` that no other host could take", () => {
    const alpha = movingSite(["h1"]);
    drain(alpha, "h1", "restart");
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h1");
    expect(alpha.vm("web").reason).toContain("still there");
    alpha.add(movingHost("h2"));
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h2");
  });

  it("forgets with the drain only what it said itself, however alike something else reads", () => {
    const alpha = movingSite();
    drain(alpha, "h1", "keep");
    const host = hostNamed(alpha, "h1");
    const known = host.attempts.get(alpha.vm("web").id);
    if (known === undefined) throw new Error("it is not there");
    const reason = "h1 is being drained, and it is still there: says its host";
    host.tell({ ...known, reason });
    alpha.flow();
    undrain(alpha, "h1");
    expect(alpha.vm("web").reason).toBe(reason);
  });

  it("leaves what is stopped where its disk is, and says so", () => {
    const alpha = movingSite();
    alpha.ask({ kind: "vm-action", actor: ANN, vm: "web", action: "stop" });
    alpha.advance(1_000);
    drain(alpha, "h1", "restart");
    alpha.advance(LONG_MS);
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped", place: { host: "h1" } });
    expect(alpha.vm("web").reason).toContain("it is stopped, and its disk is there: started, it is moved");
    undrain(alpha, "h1");
    alpha.advance(1_000);
    expect(alpha.vm("web").reason).toBeUndefined();
  });

  it("L3: goes on being emptied under the next leader", () => {
    const alpha = crowded(4);
    hostNamed(alpha, "h1").mover.open.add("perform");
    drain(alpha, "h1", "migrate");
    alpha.flow();
    alpha.restart();
    goOn(alpha);
    expect(placedOn(alpha, "h1")).toEqual([]);
  });

  it("stops being emptied when it is taken back; what is under way ends", () => {
    const alpha = crowded(5);
    hostNamed(alpha, "h1").mover.open.add("perform");
    drain(alpha, "h1", "migrate");
    alpha.flow();
    undrain(alpha, "h1");
    goOn(alpha);
    expect(placedOn(alpha, "h1")).toHaveLength(3);
  });
});

describe("a site that is balanced", () => {
  it("is for admins, says with dryRun what it would do, and does nothing", () => {
    const alpha = crowded(6);
    expect(alpha.ask({ kind: "site-balance", actor: ANN, dryRun: true, movesMax: 4 })).toMatchObject({
      refusal: { kind: "forbidden", reason: "admins-only" },
    });
    const moves = balance(alpha, true);
    expect(moves.length).toBeGreaterThan(0);
    for (const { from, to, gain } of moves) {
      expect([from, to]).toEqual(["h1", "h2"]);
      expect(gain).toBeGreaterThanOrEqual(0.2);
    }
    alpha.advance(LONG_MS);
    expect(placedOn(alpha, "h2")).toEqual([]);
  });

  it("S2: moves no more than it is told to", () => {
    const alpha = crowded(6);
    expect(balance(alpha, false, 1)).toHaveLength(1);
    alpha.advance(LONG_MS);
    expect(placedOn(alpha, "h2")).toHaveLength(1);
  });

  it("has hysteresis: proposes nothing right after, neither while the moves are under way nor when they are over", () => {
    const alpha = crowded(6);
    const all = balance(alpha, true, 20).length;
    let begun = 0;
    for (let rounds = 0; rounds < 10; rounds += 1) {
      const moves = balance(alpha, false, 20);
      begun += moves.length;
      alpha.advance(LONG_MS);
      if (moves.length === 0) break;
    }
    expect(begun).toBe(all);
    expect(balance(alpha, true, 20)).toEqual([]);
    const there = placedOn(alpha, "h2");
    alpha.advance(600_000);
    expect(placedOn(alpha, "h2")).toEqual(there);
  });

  it("counts moves that are under way as done", () => {
    const alpha = crowded(6);
    hostNamed(alpha, "h1").mover.open.add("perform");
    const wanted = balance(alpha, true, 20).map(({ vm }) => vm);
    const begun = balance(alpha, false, 2).map(({ vm }) => vm);
    alpha.flow();
    expect(begun).toEqual(wanted.slice(0, 2));
    const ids = alpha.core.views
      .vms()
      .flatMap(({ name, move }) => (move === undefined ? [] : [stored(alpha, name).move?.id]));
    balance(alpha, false, 20);
    alpha.flow();
    // A move that is under way is not begun anew.
    for (const id of ids) expect(JSON.stringify([...alpha.store])).toContain(id);
    expect(balance(alpha, true, 20).length).toBeLessThanOrEqual(Math.max(0, wanted.length - 2));
  });

  it("is left alone by default, and looked after in its time where the admin wants it", () => {
    const alpha = crowded(6);
    alpha.advance(2 * LONG_MS);
    expect(placedOn(alpha, "h2")).toEqual([]);
    Object.assign(alpha.policy, { balance: { everyMs: 10_000, movesMax: 2 } });
    alpha.restart();
    alpha.advance(3 * LONG_MS);
    const there = placedOn(alpha, "h2");
    expect(there.length).toBeGreaterThan(0);
    alpha.advance(3 * LONG_MS);
    expect(placedOn(alpha, "h2")).toEqual(there);
  });
});
