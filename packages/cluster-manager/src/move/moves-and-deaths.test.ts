/** Live moves whose leader, or one of whose hosts, dies or starts anew at each of their stages. */
import { describe, expect, it } from "vitest";
import { ADMIN, ANN } from "../core/scripted-site.fixture.ts";
import {
  expectAtRest,
  fence,
  freeOn,
  goOn,
  hostNamed,
  LONG_MS,
  migrate,
  movedTo,
  movingHost,
  movingSite,
  runningOn,
  stored,
} from "./moving-site.fixture.ts";

const STAGES = ["copying", "finishing", "confirming", "abandoning", "resuming"] as const;

describe("a move whose leader dies", () => {
  it.each(STAGES)("L3: in %s is brought to its end by the next one, from the records alone", (stage) => {
    const alpha = movedTo(stage);
    alpha.restart();
    expect(alpha.vm("web").move).toMatchObject({ from: "h1", to: "h2", stage });
    alpha.advance(2_000);
    const taken = stage === "confirming" ? 2 : stage === "resuming" ? 0 : 2;
    expect(8 - (freeOn(alpha, "h2")?.vcpus ?? 0)).toBeGreaterThanOrEqual(taken);
    goOn(alpha);
    expectAtRest(alpha, stage === "abandoning" || stage === "resuming" ? "h1" : "h2");
  });

  it("L3: at every step, stored and unsent, or sent and unheard", () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const alpha = movingSite(["h1", "h2"], { seed });
      alpha.crashes = 0.1;
      alpha.loss = 0.1;
      alpha.duplicates = 0.1;
      migrate(alpha, "h2");
      alpha.advance(10_000);
      alpha.crashes = 0;
      alpha.loss = 0;
      alpha.duplicates = 0;
      alpha.advance(60_000);
      const { place } = alpha.vm("web");
      expectAtRest(alpha, place.kind === "host" ? place.host : "nowhere");
    }
  });
});

describe("a move with a host that dies or starts anew", () => {
  it.each([
    ["copying", undefined],
    ["finishing", "h2"],
    ["confirming", "h2"],
    ["abandoning", undefined],
    ["resuming", undefined],
  ] as const)("P1: source declared dead in %s", (stage, end) => {
    const alpha = movedTo(stage);
    expect(fence(alpha, "h1")).toMatchObject({ kind: "host" });
    goOn(alpha);
    // Given up at a dead source it starts anew, where there is room.
    expectAtRest(alpha, end ?? "h2");
    expect(alpha.vm("web").attempt).toBe(end === undefined ? 3 : 2);
  });

  it.each([
    ["copying", 1],
    ["finishing", 1],
    ["abandoning", 1],
    ["resuming", 1],
  ] as const)("P1: destination declared dead in %s: it goes on at its source", (stage, attempt) => {
    const alpha = movedTo(stage);
    expect(fence(alpha, "h2")).toMatchObject({ kind: "host" });
    goOn(alpha);
    expectAtRest(alpha, "h1");
    expect(alpha.vm("web").attempt).toBe(attempt);
  });

  it("P1: destination declared dead in confirming: it starts anew, and the source cleans up what it has", () => {
    const alpha = movedTo("confirming");
    expect(fence(alpha, "h2")).toMatchObject({ kind: "host" });
    goOn(alpha);
    expectAtRest(alpha, "h1");
    expect(alpha.vm("web").attempt).toBe(3);
  });

  it.each(["copying", "resuming"] as const)(
    "P1: source of a VM to be kept declared dead in %s: it waits for it",
    (stage) => {
      const alpha = movedTo(stage, ["h1", "h2"], { onHostLoss: "keep" });
      hostNamed(alpha, "h1").up = false;
      alpha.advance(10_000);
      expect(alpha.ask({ kind: "host-fence", actor: ADMIN, host: "h1" })).toMatchObject({ kind: "host" });
      alpha.restart();
      alpha.advance(LONG_MS);
      expect(alpha.vm("web")).toMatchObject({ phase: "in-doubt", place: { host: "h1" } });
      expect(freeOn(alpha, "h2")?.vcpus).toBe(8);
      hostNamed(alpha, "h1").up = true;
      goOn(alpha);
      expectAtRest(alpha, "h1");
      expect(alpha.vm("web").attempt).toBe(1);
    },
  );

  it.each(STAGES)("P1: host managers that start anew in %s leave it in one place", (stage) => {
    for (const name of ["h1", "h2"]) {
      const alpha = movedTo(stage);
      const host = hostNamed(alpha, name);
      host.mover.forget();
      host.boot(alpha.newId());
      goOn(alpha);
      for (const { mover } of alpha.hosts.values()) mover.failing.clear();
      alpha.advance(LONG_MS);
      const { place } = alpha.vm("web");
      expectAtRest(alpha, place.kind === "host" ? place.host : "nowhere");
    }
  });

  it("P1: a destination that is not heard in finishing is waited for, however long it takes", () => {
    const alpha = movedTo("finishing");
    const there = hostNamed(alpha, "h2");
    there.up = false;
    alpha.advance(600_000);
    expect(stored(alpha).move?.stage).toBe("finishing");
    expect(hostNamed(alpha, "h1").mover.asked).not.toContain("resume");
    there.up = true;
    goOn(alpha);
    expectAtRest(alpha, "h2");
  });

  it("gives up copying to a destination that is lost", () => {
    const alpha = movedTo("copying");
    hostNamed(alpha, "h2").up = false;
    alpha.advance(20_000);
    hostNamed(alpha, "h1").mover.open.clear();
    alpha.advance(LONG_MS);
    expect(runningOn(alpha, alpha.vm("web").id)).toEqual(["h1"]);
    expect(stored(alpha).leftover).toMatchObject({ host: "h2", attempt: 2 });
    expect(migrate(alpha, "h2")).toMatchObject({ kind: "refused" });
    hostNamed(alpha, "h2").up = true;
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h1");
    expect(hostNamed(alpha, "h2").attempts.get(alpha.vm("web").id)?.state ?? "void").toBe("void");
  });

  it("keeps a host that takes part in one from being removed", () => {
    const alpha = movedTo("copying");
    expect(alpha.ask({ kind: "host-remove", actor: ADMIN, host: "h2" })).toMatchObject({
      refusal: { kind: "conflict", reason: "moving" },
    });
    goOn(alpha);
    expect(alpha.ask({ kind: "host-remove", actor: ADMIN, host: "h1" })).toMatchObject({ kind: "host" });
  });

  it("P3: a record is not forgotten while a host has not cleaned up after its move", () => {
    const alpha = movedTo("confirming");
    hostNamed(alpha, "h1").up = false;
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    alpha.advance(alpha.policy.timing.rememberMs + 60_000);
    expect(alpha.vm("web").phase).toBe("deleted");
    hostNamed(alpha, "h1").up = true;
    goOn(alpha);
    expect(hostNamed(alpha, "h1").mover.marks.size).toBe(0);
    alpha.advance(alpha.policy.timing.rememberMs);
    expect(() => alpha.vm("web")).toThrow("no VM web");
  });

  it("a host that joins is a destination as soon as it is heard", () => {
    const alpha = movingSite(["h1"]);
    alpha.add(movingHost("h2"));
    alpha.advance(1_000);
    migrate(alpha);
    expectAtRest(alpha, "h2");
  });
});
