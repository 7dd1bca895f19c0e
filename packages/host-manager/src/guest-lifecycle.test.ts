/** What a leader orders of a real guest, from the command to the notice. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { seededRng, systemClock, systemRng } from "@muster/base";
import { cloudAddress, type HostOperation, hostAccount } from "@muster/protocol";
import { type Bus, memoryNetwork } from "@muster/xmpp";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hostConfigSchema } from "./config.ts";
import { createHostManager, type HostManager } from "./host-manager.ts";
import { type MemoryDisk, memoryDisk, memoryJournal } from "./journal/memory.ts";
import { command, commandId, vmId } from "./testing/fixture.ts";
import { TestLeader } from "./testing/leader.ts";
import { QemuMachine, whyNoQemu } from "./testing/qemu-machine.ts";
import { until as untilWithin } from "./testing/until.ts";

/** What QEMU and libvirt do takes its time on a machine that others keep busy. */
const until: typeof untilWithin = (what, look) => untilWithin(what, look, 60_000);
const SITE = "alpha.test";
const VM = vmId(1);
const CONFIG = {
  site: SITE,
  name: "h1",
  state: "/nowhere",
  xmpp: { service: "xmpps://127.0.0.1:5223", passwordFile: "/nowhere" },
  hypervisor: { kind: "simulated" },
  heartbeatMs: 200,
  reportMs: 10,
  surveyMs: 500,
  noticeMs: 500,
};

describe.runIf(whyNoQemu() === undefined)("a real guest under a host manager", { timeout: 180_000 }, () => {
  let machine: QemuMachine;
  let network: ReturnType<typeof memoryNetwork>;
  let cloud: Bus;
  let leader: TestLeader;
  let disk: MemoryDisk;
  let manager: HostManager;
  let commands = 0;

  beforeAll(async () => {
    machine = await QemuMachine.start();
  }, 90_000);
  afterAll(() => machine.remove());
  beforeEach(async () => {
    network = memoryNetwork({ clock: systemClock, rng: seededRng(7) });
    cloud = network.component(cloudAddress(SITE));
    leader = new TestLeader(cloud);
    cloud.start();
    disk = memoryDisk();
    await startManager();
    const { subject } = machine.plan(1);
    await leader.command(command(nextId(), "start", { subject }));
    await until("the guest to run", () => leader.told(VM, "running") !== undefined);
  });
  afterEach(async () => {
    await manager.stop();
    await cloud.stop();
  });

  async function startManager(stopMs = 100): Promise<void> {
    leader.capacities.length = 0;
    manager = createHostManager({
      config: hostConfigSchema.parse(CONFIG),
      clock: systemClock,
      rng: systemRng,
      bus: network.client(`${hostAccount("h1", SITE)}/hm`),
      // A silent source of images is waited for longer than any test.
      hypervisor: machine.connect({ stopMs, fetch: { fetchMs: 120_000, stallMs: 120_000 } }),
      journal: memoryJournal(disk),
      log: { info: () => {}, warn: () => {}, error: () => {} },
      onFatal: (reason) => {
        throw new Error(reason);
      },
    });
    const started = await manager.start();
    if (!started.ok) throw new Error(started.error.message);
    await until("the host to accept", () => leader.capacity?.condition === "accepting");
  }

  function nextId(): number {
    commands += 1;
    return commands;
  }

  /** Orders it, and waits for its result. */
  async function operate(operation: HostOperation) {
    const id = nextId();
    await leader.command(command(id, "operate", { operation }));
    return resultOf(id);
  }

  async function resultOf(id: number) {
    const said = () => leader.notices.findLast(({ operation }) => operation?.id === commandId(id));
    await until(`operation ${id} to end`, () => said() !== undefined);
    const { state, reason, operation } = said() ?? {};
    return { state, reason, result: operation?.result, why: operation?.reason };
  }

  async function deleteAll(): Promise<void> {
    await leader.command(command(nextId(), "delete"));
    await until("the guest to be gone", () => leader.told(VM, "gone") !== undefined);
    expect(await machine.left()).toEqual({ domains: [], folders: [], uses: [] });
  }

  const volume = () => join(machine.state, "guests", VM, "volume-data.qcow2");
  const memory = { kind: "create-snapshot", name: "a" } as const;

  it("is kept, stopped by force and taken back to where it ran; nothing is left of it in the end", async () => {
    expect(await operate(memory)).toMatchObject({ state: "running", result: "done" });
    await leader.command(command(nextId(), "cut-off"));
    await until("the guest to be cut off", () => leader.told(VM, "stopped") !== undefined);
    expect(await operate({ kind: "revert-snapshot", name: "a" })).toMatchObject({ state: "running", result: "done" });
    expect((await machine.behind.domains.state({ uuid: VM })).state).toBe("running");
    expect(await operate({ kind: "revert-snapshot", name: "b" })).toMatchObject({
      state: "running",
      result: "refused",
      why: "the VM has no snapshot b",
    });
    expect(await operate({ kind: "delete-snapshot", name: "a" })).toMatchObject({ result: "done" });
    expect(await operate({ ...memory, name: "left-behind" })).toMatchObject({ result: "done" });
    await deleteAll();
  });

  it("gets a volume while it runs, which goes with it, as does its saved memory", async () => {
    expect(await operate({ kind: "attach-volume", name: "data", sizeGiB: 1 })).toMatchObject({ result: "done" });
    expect(await machine.behind.domains.xml({ uuid: VM })).toContain("volume-data.qcow2");
    expect(existsSync(volume())).toBe(true);
    expect(await operate({ kind: "save" })).toEqual({
      state: "stopped",
      reason: "saved",
      result: "done",
      why: undefined,
    });
    expect(await machine.behind.saves.hasManagedSave({ uuid: VM })).toBe(true);
    const before = leader.notices.length;
    await leader.command(command(nextId(), "start", { subject: machine.plan(1).subject }));
    await until("it to go on", () => leader.notices.slice(before).some(({ state }) => state === "running"));
    expect(await machine.behind.saves.hasManagedSave({ uuid: VM })).toBe(false);
    expect(await machine.behind.domains.xml({ uuid: VM })).toContain("volume-data.qcow2");
    expect(await operate({ kind: "save" })).toMatchObject({ result: "done" });
    await deleteAll();
  });

  it("is deleted while its image is still being fetched, without waiting for that", async () => {
    machine.isSilent = true;
    const before = machine.fetches;
    const { subject } = machine.plan(2);
    const other = { ...machine.image(), digest: `sha256:${"5".repeat(64)}` };
    const guest = subject.guest && { ...subject.guest, image: other };
    await leader.command(command(nextId(), "start", { vm: 2, subject: { ...subject, guest } }));
    await until("its image to be asked for", () => machine.fetches > before);
    await leader.command(command(nextId(), "delete", { vm: 2 }));
    await until("it to be gone", () => leader.told(vmId(2), "gone") !== undefined);
    machine.isSilent = false;
    await deleteAll();
  });

  it("H2: an operation amid which the host manager ended is carried out by the next one, once", async () => {
    const id = nextId();
    await leader.command(command(id, "operate", { operation: memory }));
    await manager.stop();
    await startManager();
    expect(await resultOf(id)).toMatchObject({ state: "running", result: "done" });
    await leader.command(command(id, "operate", { operation: memory }));
    const snapshots = await machine.behind.snapshots.list({ uuid: VM });
    expect(snapshots.map(({ name }) => name)).toEqual(["a"]);
    await deleteAll();
  });

  it("that ignores a stop is cut off by force long before its time is over, and starts again", async () => {
    await manager.stop();
    await startManager(60_000);
    await leader.command(command(nextId(), "stop"));
    await until("the stop to be under way", () => manager.state?.jobs.get(VM)?.action === "stop");
    await leader.command(command(nextId(), "cut-off"));
    await until("the guest to be cut off", () => leader.told(VM, "stopped") !== undefined);
    const before = leader.notices.length;
    await leader.command(command(nextId(), "start", { subject: machine.plan(1).subject }));
    await until("it to run again", () => leader.notices.slice(before).some(({ state }) => state === "running"));
    await deleteAll();
  });

  it("is resized while it is stopped, and told in the host's capacity", async () => {
    await leader.command(command(nextId(), "cut-off"));
    await until("the guest to be cut off", () => leader.told(VM, "stopped") !== undefined);
    expect(await operate({ kind: "resize", vcpus: 2, memoryMiB: 96, diskGiB: 2 })).toMatchObject({ result: "done" });
    await until("the capacity to tell it", () => leader.capacity?.used.memoryMiB === 96);
    expect(await operate({ kind: "resize", diskGiB: 1 })).toMatchObject({
      result: "refused",
      why: expect.stringMatching(/only grows/),
    });
    await deleteAll();
  });
});
