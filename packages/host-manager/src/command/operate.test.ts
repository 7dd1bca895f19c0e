import { describe, expect, it } from "vitest";
import { CoreWorld } from "../testing/core-world.ts";
import { command, vmId } from "../testing/fixture.ts";

const SNAPSHOT = { operation: { kind: "create-snapshot", name: "a" } } as const;

function running(): CoreWorld {
  const world = CoreWorld.ready();
  world.command(command(900, "start"));
  world.settle();
  world.told.length = 0;
  return world;
}

function stored(world: CoreWorld) {
  return JSON.parse(world.disk.get(`vm/${vmId(1)}`) ?? "{}");
}

describe("an operation", () => {
  it("is stored before it is handed over, and its result is told with the state", () => {
    const world = running();
    expect(world.command(command(1, "operate", { operation: { kind: "save" } }))).toMatchObject({
      outcome: { state: "running" },
    });
    expect(stored(world).intent).toMatchObject({ action: "operate", operation: { kind: "save" } });
    world.carryOut();
    expect(world.told).toMatchObject([
      { state: "stopped", reason: "saved", operation: { id: command(1, "operate").id, result: "done" } },
    ]);
    expect(stored(world).intent).toBeUndefined();
  });

  it("H2: has one effect however often it is sent, also after its answer was forgotten", () => {
    const world = CoreWorld.ready({ answersMax: 16 });
    world.command(command(900, "start"));
    world.settle();
    world.command(command(1, "operate", SNAPSHOT));
    world.command(command(1, "operate", SNAPSHOT));
    world.settle();
    for (let id = 100; id < 140; id += 1) world.command(command(id, "stop", { vm: 7 }));
    expect(world.state.answers.has(command(1, "operate").id)).toBe(false);
    expect(world.command(command(1, "operate", SNAPSHOT))).toMatchObject({ outcome: { state: "running" } });
    world.settle();
    expect(world.operated).toEqual(["create-snapshot"]);
  });

  it("is carried out again after a crash amid it, and then told", () => {
    for (const happened of [false, true]) {
      const world = running();
      world.command(command(1, "operate", { operation: { kind: "save" } }));
      world.crash(happened);
      world.settle();
      expect(stored(world)).toMatchObject({
        state: "stopped",
        reason: "saved",
        operation: { id: command(1, "operate").id, result: "done" },
      });
    }
  });

  it("whose end is unknown is handed over again once the hypervisor answers", () => {
    const world = running();
    world.command(command(1, "operate", SNAPSHOT));
    world.carryOut(0, false);
    expect(stored(world).operation).toBeUndefined();
    world.survey();
    world.settle();
    expect(stored(world).operation).toMatchObject({ result: "done" });
  });

  it("S2: that never comes to an end is given up after a bounded number of tries, and said to be", () => {
    const world = running();
    world.command(command(1, "operate", SNAPSHOT));
    for (let tries = 0; tries < 50 && stored(world).operation === undefined; tries += 1) {
      world.carryOut(0, false);
      world.survey();
    }
    expect(stored(world)).toMatchObject({
      state: "running",
      operation: { result: "refused", reason: expect.stringMatching(/tried \d+ times/) },
    });
    expect(world.operated).toHaveLength(world.policy.startTriesMax);
    expect(world.command(command(2, "operate", SNAPSHOT))).toMatchObject({ kind: "outcome" });
  });

  it("that the hypervisor refuses is told with its sentence and leaves the VM as it is", () => {
    const world = running();
    world.refuses = "internal snapshots are not supported";
    world.command(command(1, "operate", SNAPSHOT));
    world.settle();
    expect(world.told.at(-1)).toMatchObject({
      state: "running",
      operation: { result: "refused", reason: "internal snapshots are not supported" },
    });
    expect(world.told.at(-1)?.reason).toBeUndefined();
  });

  it("waits for no other: while one is under way the next and other orders are refused for now", () => {
    const world = running();
    world.command(command(1, "operate", SNAPSHOT));
    expect(world.command(command(2, "operate", SNAPSHOT))).toMatchObject({ refusal: { kind: "unavailable" } });
    expect(world.command(command(3, "suspend"))).toMatchObject({ refusal: { kind: "unavailable", reason: "busy" } });
    world.settle();
    expect(world.command(command(2, "operate", SNAPSHOT))).toMatchObject({ kind: "outcome" });
  });

  it("gives way to a delete", () => {
    const world = running();
    world.command(command(1, "operate", SNAPSHOT));
    world.command(command(2, "delete"));
    world.settle();
    expect(stored(world)).toMatchObject({ state: "gone" });
    expect(world.domains.size).toBe(0);
  });

  it("H4: resizes no further than there is room, and counts what it gave", () => {
    const world = running();
    world.command(command(1, "stop"));
    world.settle();
    expect(world.command(command(2, "operate", { operation: { kind: "resize", vcpus: 99 } }))).toMatchObject({
      refusal: { kind: "resource-constraint", reason: "no-capacity", message: expect.stringContaining("vCPU") },
    });
    world.command(command(3, "operate", { operation: { kind: "resize", vcpus: 4 } }));
    world.settle();
    expect(stored(world).subject.spec.vcpus).toBe(4);
    expect(world.reports.at(-1)?.capacity.used.vcpus).toBe(4);
  });

  it("is refused of a VM that runs to be resized, and of one that is not here", () => {
    const world = running();
    const resize = { operation: { kind: "resize", vcpus: 2 } } as const;
    expect(world.command(command(1, "operate", resize))).toMatchObject({ refusal: { reason: "wrong-state" } });
    expect(world.command(command(2, "operate", { ...resize, vm: 5 }))).toMatchObject({
      refusal: { kind: "item-not-found" },
    });
  });
});

describe("cut-off", () => {
  it("ends a guest at once that is being asked to stop, and leaves nothing to do after it", () => {
    const world = running();
    world.command(command(1, "stop"));
    world.command(command(2, "cut-off"));
    expect(world.hurried).toEqual([vmId(1)]);
    world.carryOut();
    expect(world.pending).toEqual([]);
    expect(stored(world)).toMatchObject({ state: "stopped" });
    expect(stored(world).intent).toBeUndefined();
  });

  it("ends a guest that runs, and is no operation whose result is told", () => {
    const world = running();
    world.command(command(1, "cut-off"));
    world.settle();
    expect(world.operated).toEqual(["cut-off"]);
    expect(world.told.at(-1)).toMatchObject({ state: "stopped" });
    expect(world.told.at(-1)?.operation).toBeUndefined();
  });
});
