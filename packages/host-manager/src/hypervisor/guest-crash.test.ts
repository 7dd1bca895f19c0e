/** H2: a host manager that ended anywhere amid an order; the next one is handed the same order, and everything is as if once. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { OrderStep, StartStep } from "../guest/guest-steps.ts";
import { vmId } from "../testing/fixture.ts";
import { QemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import { until } from "../testing/until.ts";
import type { LibvirtGuestsOptions } from "./libvirt-guests.ts";
import type { DomainOperation } from "./operation.ts";
import type { ActOutcome, DomainAction, Hypervisor } from "./port.ts";

const VM = vmId(1);
const NOTHING = { domains: [], folders: [], uses: [] };

describe.runIf(whyNoQemu() === undefined)("orders about a guest, cut off at every step", { timeout: 120_000 }, () => {
  let machine: QemuMachine;
  let hypervisor: Hypervisor;

  beforeAll(async () => {
    machine = await QemuMachine.start();
  }, 90_000);
  afterAll(() => machine.remove());
  beforeEach(async () => {
    hypervisor = await opened();
    expect(await hypervisor.start(machine.plan(1))).toMatchObject({ kind: "done" });
  });
  afterEach(async () => {
    expect(await hypervisor.act(VM, "delete")).toEqual({ kind: "done" });
    await hypervisor.close();
    expect(await machine.left()).toEqual(NOTHING);
  });

  async function opened(more: Partial<LibvirtGuestsOptions> = {}): Promise<Hypervisor> {
    const connection = machine.connect(more);
    let isUp = false;
    connection.open(({ kind }) => {
      isUp ||= kind === "up";
    });
    await until("the hypervisor to be up", () => isUp);
    return connection;
  }

  type Order = DomainAction | "start" | DomainOperation;
  const done = { kind: "done" };

  async function give(to: Hypervisor, order: Order): Promise<ActOutcome> {
    if (order === "start") return to.start(machine.plan(1));
    if (typeof order === "string") return to.act(VM, order);
    const outcome = await to.operate?.(VM, order);
    if (outcome === undefined) throw new Error("this hypervisor takes no such orders");
    return outcome;
  }

  /** Ends in front of the step, before anything that would follow; what it had done by then stays. */
  async function dyingAt(step: StartStep | OrderStep, order: Order): Promise<void> {
    let hasDied = false;
    const onStep = (at: string): void => {
      if (at !== step && !hasDied) return;
      hasDied = true;
      throw new Error("the host manager died");
    };
    const dying = await opened({ onStep });
    expect(await give(dying, order), step).toMatchObject({ kind: "unknown" });
    expect(hasDied, step).toBe(true);
    await dying.close();
  }

  /** Also where the order of the one that ended is still under way in libvirt. */
  async function twiceAtOnce(order: Order): Promise<void> {
    const next = await opened();
    const [first, second] = await Promise.all([give(hypervisor, order), give(next, order)]);
    expect([first, second], JSON.stringify([first, second])).toMatchObject([done, done]);
    const stateOf = (outcome: ActOutcome) => (outcome.kind === "done" ? outcome.domain?.state : undefined);
    // Who is done first may look while the other's revert still holds the guest: the last look is right.
    const now = await stateNow();
    expect([stateOf(first), stateOf(second)]).toContain(now === "shutoff" ? "stopped" : now);
    await next.close();
  }

  const stateNow = async () => (await machine.behind.domains.state({ uuid: VM })).state;
  const xml = (inactive: boolean) => machine.behind.domains.xml({ uuid: VM }, { inactive });
  const snapshots = async () => (await machine.behind.snapshots.list({ uuid: VM })).map(({ name }) => name);
  const volume = () => existsSync(join(machine.state, "guests", VM, "volume-data.qcow2"));
  const timesAttached = async () => (await xml(true)).match(/volume-data/g)?.length ?? 0;
  const ATTACH = { kind: "attach-volume", name: "data", sizeGiB: 1 } as const;
  const DETACH = { kind: "detach-volume", name: "data", discard: false } as const;
  const DELETE_VOLUME = { ...DETACH, discard: true } as const;
  const SNAPSHOT = { kind: "create-snapshot", name: "a" } as const;
  const REVERT = { kind: "revert-snapshot", name: "a" } as const;
  const RESIZE = { kind: "resize", vcpus: 2, memoryMiB: 96, diskGiB: 2 } as const;

  type Case = {
    readonly name: string;
    readonly order: Order;
    readonly steps: ReadonlyArray<StartStep | OrderStep>;
    /** What comes before the order, each time. */
    readonly before?: readonly Order[];
    /** What there is afterwards. */
    readonly after: () => Promise<unknown>;
    readonly expected: unknown;
    /** Back to a VM that runs and has nothing. */
    readonly back: readonly Order[];
    /** It makes a file or a process that only one can make: what had begun it ends with its host manager. */
    readonly isAlone?: boolean;
  };
  const cases: readonly Case[] = [
    { name: "stop", order: "stop", steps: ["stop", "ended"], after: stateNow, expected: "shutoff", back: ["start"] },
    {
      name: "suspend",
      order: "suspend",
      steps: ["suspend", "ended"],
      after: stateNow,
      expected: "paused",
      back: ["resume"],
    },
    {
      name: "resume",
      before: ["suspend"],
      order: "resume",
      steps: ["resume", "ended"],
      after: stateNow,
      expected: "running",
      back: [],
    },
    {
      name: "cut-off",
      order: { kind: "cut-off" },
      steps: ["destroy", "ended"],
      after: stateNow,
      expected: "shutoff",
      back: ["start"],
    },
    {
      name: "save",
      order: { kind: "save" },
      steps: ["save", "ended"],
      after: async () => [await stateNow(), await machine.behind.saves.hasManagedSave({ uuid: VM })],
      expected: ["shutoff", true],
      back: ["start"],
    },
    {
      name: "restore of what was saved",
      before: [{ kind: "save" }],
      order: "start",
      steps: ["start", "note", "done"],
      isAlone: true,
      after: async () => [await stateNow(), await machine.behind.saves.hasManagedSave({ uuid: VM })],
      expected: ["running", false],
      back: [],
    },
    {
      name: "snapshot create",
      order: SNAPSHOT,
      steps: ["snapshot", "ended"],
      after: snapshots,
      expected: ["a"],
      back: [{ kind: "delete-snapshot", name: "a" }],
    },
    {
      name: "snapshot revert",
      before: [SNAPSHOT, { kind: "cut-off" }],
      order: REVERT,
      steps: ["revert", "ended"],
      after: stateNow,
      expected: "running",
      back: [{ kind: "delete-snapshot", name: "a" }],
    },
    {
      name: "snapshot delete",
      before: [SNAPSHOT],
      order: { kind: "delete-snapshot", name: "a" },
      steps: ["delete-snapshot", "ended"],
      after: snapshots,
      expected: [],
      back: [],
    },
    {
      name: "volume create, and attach while it runs",
      order: ATTACH,
      steps: ["make-volume", "attach", "ended"],
      isAlone: true,
      after: async () => [volume(), await timesAttached(), /volume-data/.test(await xml(false))],
      expected: [true, 1, true],
      back: [{ kind: "cut-off" }, DELETE_VOLUME, "start"],
    },
    {
      name: "volume attach",
      before: [{ kind: "cut-off" }, ATTACH, DETACH],
      order: ATTACH,
      steps: ["attach", "ended"],
      after: async () => [volume(), await timesAttached()],
      expected: [true, 1],
      back: [],
    },
    {
      name: "volume detach",
      before: [{ kind: "cut-off" }, ATTACH],
      order: DETACH,
      steps: ["detach-defined", "ended"],
      after: async () => [volume(), await timesAttached()],
      expected: [true, 0],
      back: [],
    },
    {
      name: "volume delete",
      before: [{ kind: "cut-off" }, ATTACH],
      order: DELETE_VOLUME,
      steps: ["detach-defined", "remove-volume", "ended"],
      after: async () => [volume(), await timesAttached()],
      expected: [false, 0],
      back: [],
    },
  ];

  it.each(cases)("$name", async ({ order, steps, before = [], after, expected, back, isAlone = false }) => {
    for (const step of isAlone ? steps : ([...steps, "both at once"] as const)) {
      for (const one of before) expect(await give(hypervisor, one)).toMatchObject(done);
      if (step === "both at once") {
        await twiceAtOnce(order);
      } else {
        await dyingAt(step, order);
        expect(await give(hypervisor, order), step).toMatchObject(done);
      }
      expect(await after(), step).toEqual(expected);
      for (const one of back) expect(await give(hypervisor, one), JSON.stringify(one)).toMatchObject(done);
    }
  });

  it("resize", async () => {
    expect(await give(hypervisor, { kind: "cut-off" })).toMatchObject(done);
    for (const [index, step] of (["grow-disk", "redefine", "ended"] as const).entries()) {
      const order = { ...RESIZE, diskGiB: RESIZE.diskGiB + index };
      await dyingAt(step, order);
      expect(await give(hypervisor, order), step).toMatchObject(done);
      expect(await hypervisor.survey()).toMatchObject({
        domains: [{ used: { vcpus: 2 }, plan: { subject: { spec: { memoryMiB: 96, diskGiB: order.diskGiB } } } }],
      });
    }
  });

  it.each(["mark-deleting", "destroy", "undefine", "release-networks", "remove-folder", "ended"] as const)(
    "delete, before «%s»: ordered again, or only tidied up after, it leaves nothing",
    async (step) => {
      expect(await give(hypervisor, ATTACH)).toMatchObject(done);
      await dyingAt(step, "delete");
      // With a domain it is the next order that removes it, never a look around (H3).
      if ((await machine.left()).domains.length > 0) expect(await give(hypervisor, "delete")).toEqual(done);
      else await hypervisor.tidy?.(new Set());
      expect(await machine.left()).toEqual(NOTHING);
    },
  );
});
