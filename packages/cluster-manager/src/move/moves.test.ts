/** Live moves as the leader steers them: each stage on its way forward and back, whoever dies meanwhile. */
import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ADMIN, ANN } from "../core/scripted-site.fixture.ts";
import {
  cancel,
  expectAtRest,
  freeOn,
  goOn,
  hostNamed,
  LONG_MS,
  migrate,
  movedTo,
  movingSite,
  runningOn,
  stored,
} from "./moving-site.fixture.ts";

const STAGES = ["copying", "finishing", "confirming", "abandoning", "resuming"] as const;

describe("a live move", () => {
  it("P1: goes through its stages, each stored before its question is asked, and ends at the destination alone", () => {
    const alpha = movingSite();
    const stages: (string | undefined)[] = [];
    const asked: string[] = [];
    const { check } = alpha;
    alpha.check = (step) => {
      check(step);
      const stage = stored(alpha).move?.stage;
      if (stages.at(-1) !== stage) stages.push(stage);
      for (const effect of step.effects) if (effect.kind === "move") asked.push(`${effect.move.step} in ${stage}`);
    };
    expect(migrate(alpha, "h2")).toMatchObject({ kind: "vm" });
    expect(stages).toEqual(["copying", "finishing", "confirming", undefined]);
    expect(asked).toEqual([
      "begin in copying",
      "prepare in copying",
      "perform in copying",
      "finish in finishing",
      "confirm in confirming",
    ]);
    expectAtRest(alpha, "h2");
    expect(alpha.vm("web")).toMatchObject({ attempt: 2, address: "192.0.2.8" });
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h2");
  });

  it("goes to the best host where none is named, keeps its room there (P2), and tells how far it is", () => {
    const alpha = movingSite(["h1", "h2", "h3"]);
    alpha.create({ name: "other", spec: { image: "debian-12", vcpus: 6, memoryMiB: 64, diskGiB: 1 } });
    alpha.flow();
    const busy = alpha.vm("other").place;
    const best = busy.kind === "host" && busy.host === "h2" ? "h3" : "h2";
    hostNamed(alpha, "h1").mover.open.add("perform");
    const before = freeOn(alpha, best)?.vcpus ?? 0;
    migrate(alpha);
    expect(alpha.vm("web").move).toMatchObject({ from: "h1", to: best, stage: "copying" });
    expect(freeOn(alpha, best)?.vcpus).toBe(before - 2);
    const { id } = stored(alpha).move ?? { id: "" };
    const state = { id, stage: "underway", doneMiB: 12, totalMiB: 96 } as const;
    const end = { kind: "state", state } as const;
    alpha.step({ kind: "move-answered", host: "h1", vm: alpha.vm("web").id, id, step: "perform", end });
    expect(alpha.vm("web").move).toMatchObject({ doneMiB: 12, totalMiB: 96 });
    goOn(alpha);
    expectAtRest(alpha, best);
    expect(freeOn(alpha, "h1")?.vcpus).toBe(8);
  });

  it("H2: is asked for once only, however often it is asked for", () => {
    const alpha = movedTo("copying");
    expect(migrate(alpha, "h2")).toMatchObject({ kind: "vm" });
    expect(migrate(alpha)).toMatchObject({ kind: "vm" });
    expect(stored(alpha).move).toMatchObject({ attempt: 2 });
  });

  it.each(["begin", "prepare", "perform"] as const)("M1: goes on at its source when `%s` fails", (step) => {
    const alpha = movingSite();
    for (const { mover } of alpha.hosts.values()) mover.failing.add(step);
    migrate(alpha, "h2");
    alpha.advance(LONG_MS);
    for (const { mover } of alpha.hosts.values()) mover.failing.clear();
    expectAtRest(alpha, "h1");
    expect(alpha.vm("web").reason).toContain("no such luck");
    expect(freeOn(alpha, "h2")?.vcpus).toBe(8);
    expect(migrate(alpha, "h2")).toMatchObject({ kind: "vm" });
    alpha.advance(1_000);
    expectAtRest(alpha, "h2");
    // H5: the attempt that was given up is not used again.
    expect(alpha.vm("web").attempt).toBe(3);
  });

  it("P1: goes on at its source when the destination cannot finish, and not before that one has said so", () => {
    const alpha = movedTo("abandoning");
    expect(runningOn(alpha, alpha.vm("web").id)).toEqual([]);
    expect(hostNamed(alpha, "h1").mover.asked).not.toContain("resume");
    alpha.advance(LONG_MS);
    expect(hostNamed(alpha, "h1").mover.asked).not.toContain("resume");
    goOn(alpha);
    expectAtRest(alpha, "h1");
  });

  it("P1: is handed over when it came to run there after all, although it was to be abandoned", () => {
    const alpha = movedTo("abandoning");
    const { mover } = hostNamed(alpha, "h2");
    mover.failing.clear();
    mover.open.clear();
    const { id = "" } = stored(alpha).move ?? {};
    const { id: vm } = alpha.vm("web");
    mover.take({ id, term: 1, step: "finish", vm, attempt: 2, waitMs: 0 });
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h2");
  });

  it("takes a host's no for an end on the way there, and *later* for later", () => {
    const alpha = movingSite();
    const { mover } = hostNamed(alpha, "h2");
    mover.refusing.set("prepare", refusal("unavailable", "busy", "busy here", { retryAfterMs: 1_000 }));
    migrate(alpha, "h2");
    alpha.advance(1_500);
    expect(alpha.vm("web").move).toMatchObject({ stage: "copying" });
    mover.refusing.clear();
    alpha.advance(4_000);
    expectAtRest(alpha, "h2");
    const back = hostNamed(alpha, "h1").mover;
    back.refusing.set("prepare", refusal("resource-constraint", "no-capacity", "it has 0 vCPUs free"));
    migrate(alpha, "h1");
    alpha.advance(4_000);
    expectAtRest(alpha, "h2");
    expect(alpha.vm("web").reason).toContain("it has 0 vCPUs free");
  });

  it("S2: gives up copying after a bounded number of questions that nobody answers", () => {
    const alpha = movedTo("copying");
    const source = hostNamed(alpha, "h1");
    alpha.advance(300_000);
    expect(stored(alpha).move).toBeUndefined();
    expect(source.mover.asked.filter((step) => step === "perform").length).toBeLessThan(12);
    expectAtRest(alpha, "h1");
  });

  it("takes no answer to a question that it did not ask", () => {
    const alpha = movedTo("copying");
    const { id = "" } = stored(alpha).move ?? {};
    const { id: vm } = alpha.vm("web");
    const performed = { kind: "state", state: { id, stage: "performed" } } as const;
    const answer = { kind: "move-answered", host: "h1", vm, id, step: "perform", end: performed } as const;
    alpha.step({ ...answer, host: "h2" });
    alpha.step({ ...answer, step: "finish" });
    alpha.step({ ...answer, id: "01900000-0000-7000-8000-0000000000ff" });
    alpha.step({ ...answer, vm: "nobody" });
    expect(stored(alpha).move?.stage).toBe("copying");
  });
});

describe("a live move is refused", () => {
  it.each([
    ["a user", () => movingSite(), ANN, undefined, { kind: "forbidden", reason: "admins-only" }],
    ["an unknown host", () => movingSite(), ADMIN, "h9", { kind: "item-not-found", reason: "unknown-host" }],
    ["its own host", () => movingSite(), ADMIN, "h1", { kind: "conflict", reason: "same-host" }],
    ["no other host", () => movingSite(["h1"]), ADMIN, undefined, { reason: "no-destination" }],
    [
      "a full host",
      () => {
        const alpha = movingSite();
        alpha.create({ name: "big", spec: { image: "debian-12", vcpus: 7, memoryMiB: 64, diskGiB: 1 } });
        alpha.flow();
        return alpha;
      },
      ADMIN,
      "h2",
      { kind: "resource-constraint" },
    ],
    [
      "a stopped VM",
      () => {
        const alpha = movingSite();
        alpha.ask({ kind: "vm-action", actor: ANN, vm: "web", action: "stop" });
        alpha.advance(1_000);
        return alpha;
      },
      ADMIN,
      "h2",
      { kind: "conflict", reason: "not-running" },
    ],
    [
      "a source that cannot",
      () => {
        const alpha = movingSite();
        hostNamed(alpha, "h1").moves = false;
        alpha.advance(1_000);
        return alpha;
      },
      ADMIN,
      "h2",
      { kind: "not-acceptable", reason: "cannot-move" },
    ],
    [
      "a destination that cannot",
      () => {
        const alpha = movingSite();
        hostNamed(alpha, "h2").moves = false;
        alpha.advance(1_000);
        return alpha;
      },
      ADMIN,
      "h2",
      { kind: "not-acceptable", reason: "cannot-move" },
    ],
    [
      "a host that is not heard",
      () => {
        const alpha = movingSite();
        hostNamed(alpha, "h1").up = false;
        alpha.advance(5_000);
        return alpha;
      },
      ADMIN,
      "h2",
      { kind: "unavailable", reason: "host-not-heard" },
    ],
    ["another destination meanwhile", () => movedTo("copying", ["h1", "h2", "h3"]), ADMIN, "h3", { reason: "moving" }],
    ["an earlier one being given up", () => movedTo("resuming"), ADMIN, "h2", { reason: "giving-up" }],
  ] as const)("of, for, to: %s", (_, make, actor, to, expected) => {
    const alpha = make();
    const before = JSON.stringify(stored(alpha));
    const answer = alpha.ask({ kind: "vm-move", actor, vm: "web", wish: { kind: "begin", to } });
    expect(answer).toMatchObject({ kind: "refused", refusal: expected });
    expect(JSON.stringify(stored(alpha))).toBe(before);
  });

  it("of a VM that nobody knows, and its end where none is under way", () => {
    const alpha = movingSite();
    expect(migrate(alpha, "h2", "nobody")).toMatchObject({ refusal: { reason: "unknown-vm" } });
    expect(cancel(alpha)).toMatchObject({ refusal: { reason: "not-moving" } });
  });

  it("S2: beyond two moves a host at once", () => {
    const alpha = movingSite(["h1", "h2", "h3"]);
    for (const name of ["h2", "h3"]) hostNamed(alpha, name).up = false;
    alpha.advance(10_000);
    for (const name of ["a", "b"]) alpha.create({ name });
    alpha.advance(1_000);
    for (const name of ["h2", "h3"]) hostNamed(alpha, name).up = true;
    alpha.advance(3_000);
    hostNamed(alpha, "h1").mover.open.add("perform");
    expect(migrate(alpha, "h2", "web")).toMatchObject({ kind: "vm" });
    expect(migrate(alpha, "h2", "a")).toMatchObject({ kind: "vm" });
    expect(migrate(alpha, "h3", "b")).toMatchObject({
      refusal: { kind: "resource-constraint", reason: "moves-limit" },
    });
    goOn(alpha);
    expect(migrate(alpha, "h3", "b")).toMatchObject({ kind: "vm" });
  });

  it("H5: when the attempts that moves may use up are, and not because a restore began at a higher number", () => {
    const alpha = movingSite();
    const key = `vm/${alpha.vm("web").id}`;
    const put = (attemptFloor: number): void => {
      alpha.store.set(key, { ...stored(alpha), attemptFloor });
      alpha.restart();
      alpha.advance(2_000);
    };
    put(900);
    expect(migrate(alpha, "h2")).toMatchObject({ refusal: { reason: "attempts-used-up" } });
    put(3_000);
    expect(migrate(alpha, "h2")).toMatchObject({ kind: "vm" });
    expectAtRest(alpha, "h2");
    expect(alpha.vm("web").attempt).toBe(3_001);
  });
});

describe("a cancelled move", () => {
  it("M1: ends the copying and goes on at the source", () => {
    const alpha = movedTo("copying");
    const source = hostNamed(alpha, "h1").mover;
    const told: string[] = [];
    const { check } = alpha;
    alpha.check = (step) => {
      check(step);
      for (const effect of step.effects) if (effect.kind === "event") told.push(effect.event.message);
    };
    hostNamed(alpha, "h2").mover.open.add("abandon");
    expect(cancel(alpha)).toMatchObject({ kind: "vm" });
    expect(source.asked.slice(-2)).toEqual(["cancel", "resume"]);
    alpha.advance(1_000);
    goOn(alpha);
    expectAtRest(alpha, "h1");
    // What the destination has prepared is no second copy.
    expect(told.join("\n")).not.toMatch(/left alone/);
    expect(alpha.vm("web").reason).toBe("its move was cancelled");
  });

  it.each(["finishing", "confirming"] as const)("is refused in %s: it is there already, or nearly", (stage) => {
    const alpha = movedTo(stage);
    expect(cancel(alpha)).toMatchObject({ refusal: { kind: "conflict", reason: "moved" } });
    goOn(alpha);
    expectAtRest(alpha, "h2");
  });
});

describe("a wish during a move", () => {
  it.each(STAGES)("P3: a delete in %s is carried out, wherever it ended", (stage) => {
    const alpha = movedTo(stage);
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    alpha.flow();
    const { id } = alpha.vm("web");
    goOn(alpha);
    expect(alpha.vm("web").phase).toBe("deleted");
    expect(runningOn(alpha, id)).toEqual([]);
    for (const host of alpha.hosts.values()) expect(host.attempts.get(id)?.state ?? "gone").not.toBe("running");
    expect(stored(alpha).move).toBeUndefined();
    expect(stored(alpha).leftover).toBeUndefined();
    expect(freeOn(alpha, "h1")?.vcpus).toBe(8);
    expect(freeOn(alpha, "h2")?.vcpus).toBe(8);
  });

  it.each(STAGES)("P3: a stop in %s is carried out, wherever it ended", (stage) => {
    const alpha = movedTo(stage);
    alpha.ask({ kind: "vm-action", actor: ANN, vm: "web", action: "stop" });
    alpha.flow();
    goOn(alpha);
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped" });
    expect(stored(alpha).move).toBeUndefined();
  });

  it.each(STAGES)("P1: no order about it goes to either host in %s", (stage) => {
    const alpha = movedTo(stage);
    alpha.effects.splice(0);
    alpha.advance(30_000);
    const { id } = alpha.vm("web");
    const orders = alpha.effects.filter((effect) => effect.kind === "command" && effect.command.vm === id);
    expect(orders).toEqual([]);
    expect(alpha.vm("web").phase).toBe("running");
  });
});
