import { describe, expect, it } from "vitest";
import { CoreWorld } from "../testing/core-world.ts";
import { command, plan, vmId } from "../testing/fixture.ts";

describe("after a restart", () => {
  it("stored and not acted on: the start is resumed", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.crash(false);
    world.settle();
    expect(world.domains.get(vmId(1))?.state).toBe("running");
    expect(world.beginnings.get(`${vmId(1)}/1`)).toBe(1);
    expect(world.told.at(-1)).toMatchObject({ state: "running" });
  });

  it("H5: acted on and not heard: the domain is found, not started again", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.crash(true);
    world.settle();
    expect(world.beginnings.get(`${vmId(1)}/1`)).toBe(1);
    expect(world.told.at(-1)).toMatchObject({ state: "running" });
  });

  it("H2: a reboot that may have been carried out is not carried out again", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.settle();
    world.command(command(2, "reboot"));
    expect(world.pending).toMatchObject([{ action: "reboot" }]);
    world.crash(true);
    expect(world.pending).toEqual([]);
    expect(world.command(command(2, "reboot"))).toMatchObject({ outcome: { state: "running" } });
    world.settle();
    expect(world.state.attempts.get(vmId(1))?.intent).toBeUndefined();
    expect(world.domains.get(vmId(1))?.state).toBe("running");
  });

  it("H3: with the journal lost, what runs is adopted and reported with its attempt, never ended", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start", { attempt: 4 }));
    world.settle();
    world.disk.clear();
    world.told.length = 0;
    world.crash();
    world.settle();
    expect(world.domains.get(vmId(1))?.state).toBe("running");
    expect(world.told).toMatchObject([{ vm: vmId(1), attempt: 4, state: "running" }]);
    expect(world.state.attempts.get(vmId(1))?.subject).toEqual(plan(1).subject);
    expect(world.reports.at(-1)?.capacity.used.vcpus).toBe(1);
  });

  it("H5: the host lost its power: what ran has failed, is told, and never restarts by itself", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.settle();
    world.domains.clear();
    world.crash();
    world.settle();
    expect(world.told.at(-1)).toMatchObject({ state: "failed", reason: expect.stringContaining("domain is gone") });
    expect(world.domains.size).toBe(0);
    expect(world.command(command(2, "start"))).toMatchObject({ outcome: { state: "failed" } });
  });

  it("P1: a start under way when the machine went down is not taken up again: the VM may run elsewhere by now", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.machineBoot = "boot-2";
    world.crash(false);
    world.settle();
    expect(world.domains.size).toBe(0);
    expect(world.told.at(-1)).toMatchObject({
      attempt: 1,
      state: "failed",
      reason: expect.stringContaining("restarted"),
    });
    expect(world.command(command(2, "start", { attempt: 2 }))).toMatchObject({ outcome: { state: "starting" } });
  });

  it("P1: nor is a domain that the machine kept defined: it is told as stopped, and started only by order", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.domains.set(vmId(1), { plan: plan(1, 1), state: "stopped" });
    world.machineBoot = "boot-2";
    world.crash(false);
    world.settle();
    expect(world.domains.get(vmId(1))?.state).toBe("stopped");
    expect(world.told.at(-1)).toMatchObject({ attempt: 1, state: "stopped" });
    world.command(command(2, "start"));
    world.settle();
    expect(world.domains.get(vmId(1))?.state).toBe("running");
  });

  it("H5: a domain of an earlier attempt than a promised one is reported as what it is, the promise kept", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "void", { attempt: 2 }));
    world.domains.set(vmId(1), { plan: plan(1, 1), state: "running" });
    world.settle();
    expect(world.told.at(-1)).toMatchObject({ attempt: 1, state: "running" });
    expect(world.command(command(2, "start", { attempt: 2 }))).toMatchObject({ outcome: { state: "void" } });
  });

  it("notices that were not acknowledged are sent again, once each VM, the newest state", () => {
    const world = CoreWorld.ready();
    world.take({ kind: "unlinked" });
    for (const vm of [1, 2]) world.command(command(vm, "start", { vm }));
    world.settle();
    world.command(command(3, "stop", { vm: 1 }));
    world.settle();
    expect(world.told).toEqual([]);
    world.crash();
    expect(world.told).toMatchObject([
      { vm: vmId(2), state: "running" },
      { vm: vmId(1), state: "stopped" },
    ]);
    expect([...world.disk.keys()].some((key) => key.startsWith("notice/"))).toBe(false);
  });
});

describe("while running", () => {
  it("a guest that ends by itself is told as stopped", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.settle();
    world.domains.set(vmId(1), { plan: plan(1), state: "stopped" });
    world.take({ kind: "hypervisor-changed" });
    world.survey();
    expect(world.told.at(-1)).toMatchObject({ state: "stopped" });
  });

  it("a survey that began before an order says nothing about that VM", () => {
    const world = CoreWorld.ready();
    world.nowMs += world.policy.surveyMs;
    world.take({ kind: "tick" });
    world.command(command(1, "start"));
    world.carryOut();
    world.survey(true);
    expect(world.state.attempts.get(vmId(1))).toMatchObject({ state: "running" });
  });

  it("an order of unknown end degrades the host, and the next survey tells what became of it", () => {
    const world = CoreWorld.ready();
    world.reports.length = 0;
    world.command(command(1, "start"));
    world.carryOut(0, false);
    expect(world.reports.at(-1)?.capacity.condition).toBe("degraded");
    expect(world.told).toEqual([]);
    world.survey();
    expect(world.reports.at(-1)?.capacity.condition).toBe("accepting");
    expect(world.told.at(-1)).toMatchObject({ state: "running" });
    expect(world.beginnings.get(`${vmId(1)}/1`)).toBe(1);
  });

  it("S2: a start that never ends is tried so often and then has failed", () => {
    const world = CoreWorld.ready({ startTriesMax: 2 });
    world.command(command(1, "start"));
    for (let round = 0; round < 4; round += 1) {
      world.carryOut(0, false);
      world.domains.clear();
      world.survey();
    }
    expect(world.told.at(-1)).toMatchObject({ state: "failed", reason: expect.stringContaining("tried 2 times") });
    expect(world.pending).toEqual([]);
  });

  it("H3: foreign domains are counted with what they take, and left alone", () => {
    const world = CoreWorld.ready();
    world.domains.set("foreign", { state: "running" });
    world.domains.set("copied-metadata", { state: "running", plan: plan(3) });
    world.survey();
    world.nowMs += 10_000;
    world.take({ kind: "tick" });
    expect(world.reports.at(-1)?.capacity).toMatchObject({
      foreignVms: 2,
      vms: 0,
      reserved: { vcpus: 2, memoryMiB: 1_024 },
    });
    expect(world.domains.size).toBe(2);
    expect(world.pending).toEqual([]);
  });
});

describe("what a VM leaves on the machine", () => {
  it("is removed when its deletion is only found to be done, and when its record is settled", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.settle();
    world.command(command(2, "delete"));
    world.domains.clear();
    world.crash();
    world.settle();
    expect(world.told.at(-1)).toMatchObject({ state: "gone" });
    expect(world.discarded).toEqual([vmId(1)]);
    world.command(command(3, "settle"));
    expect(world.discarded).toEqual([vmId(1), vmId(1)]);
  });

  it.each([
    ["the hypervisor was away", (world: CoreWorld) => world.survey()],
    ["the process ended before it was removed", (world: CoreWorld) => world.crash()],
  ])("is removed later where %s, also after its record is settled", (_when, later) => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.settle();
    world.domains.clear();
    world.survey();
    world.isDiscarding = false;
    world.command(command(2, "delete"));
    world.command(command(3, "settle"));
    expect(world.state.attempts.size).toBe(0);
    expect(world.discarded).toEqual([]);
    world.isDiscarding = true;
    later(world);
    expect(world.discarded).toEqual([vmId(1)]);
    world.crash();
    expect(world.discarded).toEqual([vmId(1)]);
  });

  it("H3: of one attempt is not removed from under the next one", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.settle();
    world.domains.clear();
    world.survey();
    world.isDiscarding = false;
    world.command(command(2, "delete"));
    world.command(command(3, "start", { attempt: 2 }));
    world.isDiscarding = true;
    world.crash();
    world.settle();
    expect(world.discarded).toEqual([]);
    expect(world.told.at(-1)).toMatchObject({ attempt: 2, state: "running" });
  });

  it("a start that is under way is given up when its VM is deleted, one that waits its turn is never begun", () => {
    const world = CoreWorld.ready({ jobsMax: 1 });
    world.command(command(1, "start"));
    world.command(command(2, "start", { vm: 2 }));
    world.command(command(3, "delete"));
    world.command(command(4, "delete", { vm: 2 }));
    expect(world.givenUp).toEqual([vmId(1)]);
    world.settle();
    expect(world.told.slice(-2)).toMatchObject([{ state: "gone" }, { state: "gone" }]);
    expect([...world.beginnings]).toEqual([[`${vmId(1)}/1`, 1]]);
  });

  it("H3: stays while the VM has only failed, and goes with the order to delete it", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.settle();
    world.domains.clear();
    world.crash();
    world.settle();
    expect(world.told.at(-1)).toMatchObject({ state: "failed" });
    expect(world.discarded).toEqual([]);
    expect(world.known).toEqual(new Set([vmId(1)]));
    world.command(command(2, "delete"));
    expect(world.discarded).toEqual([vmId(1)]);
  });

  it("nothing is known to a host that begins, and everything that lives to one that goes on", () => {
    const world = CoreWorld.ready();
    expect(world.known).toEqual(new Set());
    world.command(command(1, "start"));
    world.command(command(2, "start", { vm: 2 }));
    world.crash();
    world.settle();
    expect(world.known).toEqual(new Set([vmId(1), vmId(2)]));
  });
});
