import { existsSync } from "node:fs";
import { join } from "node:path";
import { SNAPSHOTS_MAX, VOLUMES_MAX } from "@muster/protocol";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { vmId } from "../testing/fixture.ts";
import { QemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import { until } from "../testing/until.ts";
import type { DomainOperation } from "./operation.ts";
import type { ActOutcome, Hypervisor } from "./port.ts";

const VM = vmId(1);

describe.runIf(whyNoQemu() === undefined)("orders about a real guest", { timeout: 120_000 }, () => {
  let machine: QemuMachine;
  let hypervisor: Hypervisor;

  beforeAll(async () => {
    machine = await QemuMachine.start();
  }, 90_000);
  afterAll(() => machine.remove());
  beforeEach(async () => {
    hypervisor = machine.connect();
    let isUp = false;
    hypervisor.open(({ kind }) => {
      isUp ||= kind === "up";
    });
    await until("the hypervisor to be up", () => isUp);
    expect(await hypervisor.start(machine.plan(1))).toMatchObject({ kind: "done" });
  });
  afterEach(async () => {
    expect(await hypervisor.act(VM, "delete")).toEqual({ kind: "done" });
    await hypervisor.close();
    expect(await machine.left()).toEqual({ domains: [], folders: [], uses: [] });
  });

  async function order(operation: DomainOperation): Promise<ActOutcome> {
    const outcome = await hypervisor.operate?.(VM, operation);
    if (outcome === undefined) throw new Error("this hypervisor takes no such orders");
    return outcome;
  }
  const stateNow = async () => (await machine.behind.domains.state({ uuid: VM })).state;
  const volume = (name: string) => join(machine.state, "guests", VM, `volume-${name}.qcow2`);

  it("is cut off at once, also when it is stopped already", async () => {
    expect(await order({ kind: "cut-off" })).toMatchObject({ kind: "done", domain: { state: "stopped" } });
    expect(await order({ kind: "cut-off" })).toMatchObject({ kind: "done", domain: { state: "stopped" } });
  });

  it("saved with its memory, it goes on by the next start; a saved one is deleted without a trace", async () => {
    expect(await order({ kind: "save" })).toMatchObject({ kind: "done", domain: { state: "stopped" } });
    expect(await order({ kind: "save" })).toMatchObject({ kind: "done" });
    expect(await machine.behind.saves.hasManagedSave({ uuid: VM })).toBe(true);
    expect(await order({ kind: "resize", vcpus: 2 })).toMatchObject({
      kind: "refused",
      reason: expect.stringMatching(/is saved/),
    });
    expect(await hypervisor.start(machine.plan(1))).toMatchObject({ domain: { state: "running" } });
    expect(await machine.behind.saves.hasManagedSave({ uuid: VM })).toBe(false);
    await order({ kind: "save" });
  });

  it("a stopped VM has no memory to save", async () => {
    await order({ kind: "cut-off" });
    expect(await order({ kind: "save" })).toEqual({
      kind: "refused",
      reason: "the VM is stopped: there is no memory to save",
    });
  });

  it("snapshots are made, told, gone back to and deleted; each order can be repeated", async () => {
    expect(await hypervisor.snapshots?.(VM)).toEqual([]);
    for (const _again of [1, 2])
      expect(await order({ kind: "create-snapshot", name: "a" })).toMatchObject({ kind: "done" });
    await order({ kind: "cut-off" });
    expect(await order({ kind: "create-snapshot", name: "b" })).toMatchObject({ kind: "done" });
    expect(await hypervisor.snapshots?.(VM)).toMatchObject([
      { name: "a", state: "running", isCurrent: false },
      { name: "b", state: "stopped", isCurrent: true },
    ]);
    expect(await order({ kind: "revert-snapshot", name: "a" })).toMatchObject({ domain: { state: "running" } });
    expect(await order({ kind: "revert-snapshot", name: "b" })).toMatchObject({ domain: { state: "stopped" } });
    expect(await order({ kind: "revert-snapshot", name: "c" })).toMatchObject({
      kind: "refused",
      reason: expect.stringMatching(/no snapshot c/),
    });
    for (const _again of [1, 2])
      expect(await order({ kind: "delete-snapshot", name: "a" })).toMatchObject({ kind: "done" });
    expect(await hypervisor.snapshots?.(VM)).toMatchObject([{ name: "b" }]);
    expect(await hypervisor.snapshots?.(vmId(7))).toBeUndefined();
  });

  it("S2: a VM has only so many snapshots, and names that are none are refused", async () => {
    await order({ kind: "cut-off" });
    for (let number = 1; number <= SNAPSHOTS_MAX; number += 1) {
      expect(await order({ kind: "create-snapshot", name: `s${number}` })).toMatchObject({ kind: "done" });
    }
    expect(await order({ kind: "create-snapshot", name: "one-more" })).toMatchObject({
      kind: "refused",
      reason: expect.stringMatching(/16 snapshots/),
    });
    for (const name of ["", "../up", "a<b", "A", "x".repeat(40)]) {
      expect(await order({ kind: "create-snapshot", name }), name).toMatchObject({
        kind: "refused",
        reason: expect.stringMatching(/the name must/),
      });
      expect(await order({ kind: "attach-volume", name, sizeGiB: 1 }), name).toMatchObject({ kind: "refused" });
    }
  });

  it("volumes come and go while it is stopped, keep what is on them, and are deleted when that is said", async () => {
    await order({ kind: "cut-off" });
    for (const _again of [1, 2]) {
      expect(await order({ kind: "attach-volume", name: "data", sizeGiB: 1 })).toMatchObject({ kind: "done" });
    }
    const xml = await machine.behind.domains.xml({ uuid: VM });
    expect(xml.match(/volume-data\.qcow2/g)).toHaveLength(1);
    expect(xml).toContain("<serial>data</serial>");
    for (const _again of [1, 2]) {
      expect(await order({ kind: "detach-volume", name: "data", discard: false })).toMatchObject({ kind: "done" });
    }
    expect(await machine.behind.domains.xml({ uuid: VM })).not.toContain("volume-data");
    expect(existsSync(volume("data"))).toBe(true);
    await order({ kind: "attach-volume", name: "data", sizeGiB: 1 });
    await order({ kind: "detach-volume", name: "data", discard: true });
    expect(existsSync(volume("data"))).toBe(false);
  });

  it("a volume is attached to a running guest, and stays after its next start", async () => {
    expect(await order({ kind: "attach-volume", name: "live", sizeGiB: 1 })).toMatchObject({ kind: "done" });
    expect(await machine.behind.domains.xml({ uuid: VM })).toContain("volume-live");
    expect(await machine.behind.domains.xml({ uuid: VM }, { inactive: true })).toContain("volume-live");
    await order({ kind: "cut-off" });
    expect(await hypervisor.start(machine.plan(1))).toMatchObject({ domain: { state: "running" } });
  });

  it("S2: a VM has only so many volumes", async () => {
    await order({ kind: "cut-off" });
    for (let number = 1; number <= VOLUMES_MAX; number += 1) {
      expect(await order({ kind: "attach-volume", name: `v${number}`, sizeGiB: 1 })).toMatchObject({ kind: "done" });
    }
    expect(await order({ kind: "attach-volume", name: "one-more", sizeGiB: 1 })).toMatchObject({
      kind: "refused",
      reason: expect.stringMatching(/8 volumes/),
    });
  });

  it("gets another size while it is stopped, tells it from then on, and its disk only grows", async () => {
    const bigger = { kind: "resize", vcpus: 2, memoryMiB: 96, diskGiB: 3 } as const;
    expect(await order(bigger)).toMatchObject({ kind: "refused", reason: expect.stringMatching(/stop the VM first/) });
    await order({ kind: "cut-off" });
    for (const _again of [1, 2]) expect(await order(bigger)).toMatchObject({ kind: "done" });
    expect(await hypervisor.survey()).toMatchObject({
      domains: [
        { used: { vcpus: 2, memoryMiB: 96 }, plan: { subject: { spec: { vcpus: 2, memoryMiB: 96, diskGiB: 3 } } } },
      ],
    });
    expect(await order({ kind: "resize", diskGiB: 1 })).toMatchObject({
      kind: "refused",
      reason: expect.stringMatching(/only grows/),
    });
    expect(await hypervisor.start(machine.plan(1))).toMatchObject({
      domain: { state: "running", used: { memoryMiB: 96 } },
    });
  });

  it("its console is opened for one at a time, ends with the guest, and is refused for one that is stopped", async () => {
    const opened = await hypervisor.console?.(VM, false);
    if (opened?.ok !== true) throw new Error("no console");
    expect(await hypervisor.console?.(VM, false)).toMatchObject({
      ok: false,
      error: expect.stringMatching(/Active console session/),
    });
    const ended = new Promise((resolve) => opened.value.once("close", resolve));
    opened.value.resume();
    await order({ kind: "cut-off" });
    await ended;
    expect(await hypervisor.console?.(VM, false)).toMatchObject({
      ok: false,
      error: expect.stringMatching(/not running/),
    });
  });

  it("a guest that hears nothing is cut off after its time; one that is told to stop keeps its domain", async () => {
    const patient = machine.connect({ stopMs: 400 });
    let isUp = false;
    patient.open(({ kind }) => {
      isUp ||= kind === "up";
    });
    await until("the hypervisor to be up", () => isUp);
    const beginMs = performance.now();
    expect(await patient.act(VM, "stop")).toMatchObject({ kind: "done", domain: { state: "stopped" } });
    expect(performance.now() - beginMs).toBeGreaterThanOrEqual(400);
    expect(await stateNow()).toBe("shutoff");
    await patient.close();
  });

  it("orders about a VM that is not there are refused", async () => {
    expect(await hypervisor.operate?.(vmId(7), { kind: "save" })).toMatchObject({ kind: "refused" });
  });
});
