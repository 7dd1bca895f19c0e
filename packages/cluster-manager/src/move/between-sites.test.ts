/** Moves between two sites with the real cores and the real broker: each way, each failure, whoever forgets, and at random. */
import { seededRng } from "@muster/base";
import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ALPHA, BETA, Federation } from "../core/scripted-federation.fixture.ts";
import type { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ADMIN, ANN, type ScriptedSite } from "../core/scripted-site.fixture.ts";
import type { MoveRecord } from "./move-record.ts";

const LONG_MS = 60_000;
/** Longer than the lease, its grace and every margin. */
const OVER_MS = 400_000;

function hostsOf({ alpha, beta }: Federation): ScriptedHost[] {
  return [...alpha.hosts.values(), ...beta.hosts.values()];
}

/** `web` runs at home, and P1 is looked at after every step of either site. */
function ready(seed = 1): Federation {
  const both = new Federation(seed);
  for (const host of hostsOf(both)) host.moves = true;
  both.advance(2_000);
  both.alpha.create({ name: "web", burst: "allow", leaseMs: 60_000 });
  both.advance(3_000);
  const { id } = both.alpha.vm("web");
  for (const site of [both.alpha, both.beta])
    site.check = () =>
      expect(
        hostsOf(both)
          .filter(({ mover }) => mover.runs(id))
          .map(({ name }) => name).length,
      ).toBeLessThan(2);
  return both;
}

const away = (both: Federation) => ask(both, { kind: "begin", peer: BETA });
const home = (both: Federation) => ask(both, { kind: "begin", home: true });

function ask(
  { alpha }: Federation,
  wish: { readonly kind: "begin"; readonly peer?: string; readonly home?: true } | { readonly kind: "cancel" },
) {
  return alpha.ask({ kind: "vm-move", actor: ADMIN, vm: "web", wish });
}

function runningOn(both: Federation): string[] {
  const { id } = both.alpha.vm("web");
  return hostsOf(both)
    .filter(({ mover }) => mover.runs(id))
    .map(({ name }) => name);
}

function storedMove({ alpha }: Federation): MoveRecord | undefined {
  return (alpha.store.get(`vm/${alpha.vm("web").id}`) as { readonly move?: MoveRecord }).move;
}

/** The exchanges of both sides that are not over. */
function openExchanges({ alpha, beta }: Federation): unknown[] {
  const at = (site: ScriptedSite) =>
    site.core.views
      .leases(site.nowMs)
      .filter(({ stage }) => stage !== "closed" && stage !== "released" && stage !== "voided");
  return [...at(alpha), ...at(beta)];
}

function expectAtHome(both: Federation): void {
  expect(both.alpha.vm("web")).toMatchObject({ phase: "running", place: { kind: "host", host: "h1" } });
  expect(both.alpha.vm("web").move).toBeUndefined();
  expect(runningOn(both)).toEqual(["h1"]);
  expect(openExchanges(both)).toEqual([]);
  for (const { mover, name } of hostsOf(both)) expect(mover.marks.size, name).toBe(0);
}

function expectAway(both: Federation): void {
  expect(both.alpha.vm("web")).toMatchObject({ phase: "running", place: { kind: "peer", peer: BETA } });
  expect(both.alpha.vm("web").move).toBeUndefined();
  expect(both.beta.vm("web")).toMatchObject({ phase: "running", origin: { kind: "peer", peer: ALPHA } });
  expect(runningOn(both)).toEqual([expect.stringMatching(/^k[12]$/)]);
  for (const { mover, name } of hostsOf(both)) expect(mover.marks.size, name).toBe(0);
}

describe("a move to a peer", () => {
  it("P1: goes through its stages, ends there under a lease, and leaves nothing at home", () => {
    const both = ready();
    const stages: (string | undefined)[] = [];
    const { check } = both.alpha;
    both.alpha.check = (step) => {
      check(step);
      const stage = storedMove(both)?.stage;
      if (stages.at(-1) !== stage) stages.push(stage);
    };
    expect(away(both)).toMatchObject({ kind: "vm" });
    both.advance(10_000);
    expect(stages).toEqual(["copying", "finishing", "confirming", undefined]);
    expectAway(both);
    expect(both.alpha.hosts.get("h1")?.mover.asked).toEqual(["begin", "perform", "confirm"]);
    const [there] = [...both.beta.hosts.values()].filter(({ mover }) => mover.asked.length > 0);
    expect(there?.mover.asked).toEqual(["prepare", "finish"]);
    // H5: an attempt of the lender's own, started once.
    expect(there?.started).toEqual([`${both.alpha.vm("web").id}/1`]);
    both.advance(OVER_MS);
    expectAway(both);
  });

  it("comes home again: the lease is over on both sides, and its use is agreed", () => {
    const both = ready();
    away(both);
    both.advance(30_000);
    expect(home(both)).toMatchObject({ kind: "vm" });
    both.advance(20_000);
    expectAtHome(both);
    expect(both.beta.vm("web").phase).toBe("deleted");
    both.advance(LONG_MS);
    expectAtHome(both);
    const books = [both.alpha, both.beta].map((site) =>
      [...site.store].filter(([key]) => key.startsWith("receipt/")).map(([, value]) => value),
    );
    expect(books[0]?.length).toBeGreaterThan(0);
    expect(books[0]).toHaveLength(books[1]?.length ?? 0);
  });

  it.each([
    ["prepare", "k"],
    ["perform", "h"],
    ["finish", "k"],
  ] as const)("M1: where %s fails it goes on at home, and the lease is given back", (step, side) => {
    const both = ready();
    for (const { name, mover } of hostsOf(both)) if (name.startsWith(side)) mover.failing.add(step);
    away(both);
    both.advance(LONG_MS);
    expectAtHome(both);
    // B5: what a host of the peer says stays there.
    const said = side === "h" ? /no such luck/ : /VM's host could not carry this step out/;
    expect(both.alpha.vm("web").reason).toMatch(said);
  });

  it("is refused with the lender's own reason, and nothing was touched", () => {
    const both = ready();
    for (let vm = 0; vm < 8; vm += 1) both.beta.create({ name: `full${vm}` });
    both.advance(5_000);
    away(both);
    both.advance(LONG_MS);
    expectAtHome(both);
    expect(both.alpha.vm("web").reason).toMatch(/beta\.test/);
    expect(both.alpha.hosts.get("h1")?.mover.asked).not.toContain("perform");
  });

  it("B5: only for admins, only to peers, and not where its user said never", () => {
    const both = ready();
    const wish = { kind: "begin", peer: BETA } as const;
    expect(both.alpha.ask({ kind: "vm-move", actor: ANN, vm: "web", wish })).toMatchObject({ kind: "refused" });
    expect(ask(both, { kind: "begin", peer: "gamma.test" })).toMatchObject({ refusal: { reason: "unknown-peer" } });
    expect(home(both)).toMatchObject({ refusal: { reason: "at-home" } });
    both.alpha.create({ name: "never", burst: "never" });
    both.advance(3_000);
    expect(both.alpha.ask({ kind: "vm-move", actor: ADMIN, vm: "never", wish })).toMatchObject({
      refusal: { reason: "burst-never" },
    });
  });

  it("P1: a peer that falls silent as it is to run it is waited for, until nothing of the lease can be left there", () => {
    const both = ready();
    for (const { mover } of both.beta.hosts.values()) mover.open.add("finish");
    away(both);
    both.advance(5_000);
    expect(storedMove(both)?.stage).toBe("finishing");
    both.cut = true;
    both.advance(LONG_MS);
    expect(runningOn(both)).toEqual([]);
    expect(storedMove(both)?.stage).toBe("finishing");
    both.advance(OVER_MS);
    expect(runningOn(both)).toEqual(["h1"]);
    both.cut = false;
    both.advance(LONG_MS);
    expectAtHome(both);
  });

  it("P1: what came to run at the peer stays there, whatever was lost of its word", () => {
    const both = ready();
    for (const { mover } of both.beta.hosts.values()) mover.open.add("finish");
    away(both);
    both.advance(5_000);
    for (const { mover } of both.beta.hosts.values()) mover.open.clear();
    both.beta.restart();
    both.alpha.restart();
    both.advance(LONG_MS);
    expectAway(both);
  });

  it("can be cancelled while it is copied", () => {
    const both = ready();
    both.alpha.hosts.get("h1")?.mover.open.add("perform");
    away(both);
    both.advance(5_000);
    expect(ask(both, { kind: "cancel" })).toMatchObject({ kind: "vm" });
    both.alpha.hosts.get("h1")?.mover.open.clear();
    both.advance(LONG_MS);
    expectAtHome(both);
  });
});

describe("a move home", () => {
  function gone(seed = 1): Federation {
    const both = ready(seed);
    away(both);
    both.advance(10_000);
    expectAway(both);
    return both;
  }

  it.each(["begin", "perform", "prepare", "finish"] as const)("M1: where %s fails it goes on at the peer", (step) => {
    const both = gone();
    for (const { mover } of hostsOf(both)) mover.failing.add(step);
    home(both);
    both.advance(LONG_MS);
    expectAway(both);
    expect(both.alpha.vm("web").reason ?? "").toMatch(/no such luck|VM's host could not|^$/);
  });

  it("P1: a lender whose host dies amid it starts nothing anew: the VM may run at home", () => {
    const both = gone();
    both.alpha.hosts.get("h1")?.mover.open.add("finish");
    home(both);
    both.advance(5_000);
    const place = both.beta.vm("web").place;
    const host = place.kind === "host" ? place.host : "";
    both.beta.hosts.get(host)?.powerOff();
    both.beta.advance(10_000);
    both.beta.ask({ kind: "host-fence", actor: ADMIN, host });
    both.alpha.hosts.get("h1")?.mover.open.clear();
    both.advance(LONG_MS);
    expect(both.alpha.vm("web")).toMatchObject({ phase: "running", place: { kind: "host", host: "h1" } });
    expect(runningOn(both)).toEqual(["h1"]);
  });

  it("is refused by a peer that gives no leave to it now, and the VM goes on there", () => {
    const both = gone();
    for (const { mover } of both.beta.hosts.values())
      mover.refusing.set("begin", refusal("not-acceptable", "cannot-move", "not here"));
    home(both);
    both.advance(LONG_MS);
    expectAway(both);
  });
});

describe("moves between sites at random", () => {
  it("P1, B4: one place at every moment, and one at the end, under loss, repeats, crashes and new host managers", () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const both = ready(seed);
      const rng = seededRng(seed);
      both.loss = rng.next() * 0.3;
      both.duplicates = rng.next() * 0.2;
      for (const site of [both.alpha, both.beta]) {
        site.loss = rng.next() * 0.2;
        site.duplicates = rng.next() * 0.2;
        site.crashes = rng.next() * 0.02;
      }
      for (let turn = 0; turn < 30; turn += 1) {
        const dice = rng.next();
        if (dice < 0.3) away(both);
        else if (dice < 0.6) home(both);
        else if (dice < 0.7) ask(both, { kind: "cancel" });
        else if (dice < 0.8) for (const { mover } of hostsOf(both)) if (rng.next() < 0.3) mover.forget();
        both.advance(500 + Math.floor(rng.next() * 6_000));
      }
      both.loss = 0;
      both.duplicates = 0;
      for (const site of [both.alpha, both.beta]) Object.assign(site, { loss: 0, duplicates: 0, crashes: 0 });
      both.advance(OVER_MS);
      const { place, phase, move } = both.alpha.vm("web");
      expect({ seed, phase, move }).toEqual({ seed, phase: "running", move: undefined });
      expect(runningOn(both), `seed ${seed}`).toEqual([
        place.kind === "host" ? place.host : expect.stringMatching(/^k/),
      ]);
    }
  }, 120_000);
});
