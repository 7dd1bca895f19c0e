import { seededRng, systemClock, systemRng } from "@muster/base";
import { cloudAddress, commandMessage, hostAccount, NS_COMMAND, NS_HELLO, refusalMessage } from "@muster/protocol";
import { type Bus, type IqOutcome, memoryNetwork } from "@muster/xmpp";
import fc from "fast-check";
import { Element } from "ltx";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type HostConfigInput, hostConfigSchema } from "./config.ts";
import { createHostManager, type HostManager } from "./host-manager.ts";
import { SimulatedMachine } from "./hypervisor/simulated.ts";
import { memoryDisk, memoryJournal } from "./journal/memory.ts";
import { faultyHypervisor, faultyJournal, type JournalFaults } from "./testing/faults.ts";
import { command, subject, vmId } from "./testing/fixture.ts";
import { TestLeader } from "./testing/leader.ts";
import { until } from "./testing/until.ts";

const SITE = "alpha.test";
const LOG = { info: () => {}, warn: () => {}, error: () => {} };
const TOTAL = { vcpus: 8, memoryMiB: 16_384, diskGiB: 200, gpus: 0 };

/** One host on a network in memory: what outlives its host manager, and the one that runs now. */
class Host {
  readonly disk = memoryDisk();
  readonly machine: SimulatedMachine;
  readonly journalFaults: JournalFaults = {};
  readonly hypervisorFaults = { deaf: false };
  readonly name: string;
  readonly #bus: () => Bus;
  readonly #more: Partial<HostConfigInput>;
  manager: HostManager;
  fatal: string | undefined;

  constructor(name: string, bus: () => Bus, more: Partial<HostConfigInput> = {}, startMs = 0) {
    this.name = name;
    this.#bus = bus;
    this.#more = more;
    this.machine = new SimulatedMachine({ clock: systemClock, total: TOTAL, startMs });
    this.manager = this.#make();
  }

  async start(): Promise<void> {
    const started = await this.manager.start();
    if (!started.ok) throw new Error(started.error.message);
  }

  /** Another process over the same disk and machine. */
  async restart(): Promise<void> {
    await this.manager.stop();
    this.fatal = undefined;
    this.manager = this.#make();
    await this.start();
  }

  #make(): HostManager {
    const config = hostConfigSchema.parse({
      site: SITE,
      name: this.name,
      state: "/nowhere",
      xmpp: { service: "xmpps://127.0.0.1:5223", passwordFile: "/nowhere" },
      hypervisor: { kind: "simulated" },
      heartbeatMs: 100,
      reportMs: 10,
      surveyMs: 50,
      noticeMs: 200,
      ...this.#more,
    });
    return createHostManager({
      config,
      clock: systemClock,
      rng: systemRng,
      bus: this.#bus(),
      hypervisor: faultyHypervisor(this.machine.connect(), this.hypervisorFaults),
      journal: faultyJournal(memoryJournal(this.disk), this.journalFaults),
      log: LOG,
      onFatal: (reason) => {
        this.fatal = reason;
      },
    });
  }
}

let network: ReturnType<typeof memoryNetwork>;
let cloud: Bus;
let leader: TestLeader;
let hosts: Host[];

beforeEach(() => {
  network = memoryNetwork({ clock: systemClock, rng: seededRng(7) });
  cloud = network.component(cloudAddress(SITE));
  leader = new TestLeader(cloud);
  cloud.start();
  hosts = [];
});
afterEach(async () => {
  await Promise.all(hosts.map((host) => host.manager.stop()));
  await cloud.stop();
});

async function ready(more: Partial<HostConfigInput> = {}, startMs = 0): Promise<Host> {
  const host = new Host("h1", () => network.client(`${hostAccount("h1", SITE)}/hm`), more, startMs);
  hosts.push(host);
  await host.start();
  await heard();
  return host;
}

async function heard(): Promise<void> {
  leader.capacities.length = 0;
  await until("the host to accept", () => leader.capacity?.condition === "accepting");
}

describe("a host manager on the bus", () => {
  it("reports, obeys and tells: start, stop, start again, delete", async () => {
    const host = await ready();
    expect(await leader.command(command(1, "start"))).toMatchObject({ state: "starting" });
    await until("running", () => leader.told(vmId(1), "running"));
    await leader.command(command(2, "stop"));
    await until("stopped", () => leader.told(vmId(1), "stopped"));
    leader.notices.length = 0;
    await leader.command(command(3, "start"));
    await until("running again", () => leader.told(vmId(1), "running"));
    await leader.command(command(4, "delete"));
    await until("gone", () => leader.told(vmId(1), "gone"));
    expect(host.machine.domains().size).toBe(0);
    expect(host.machine.beginningsOf(vmId(1), 1)).toBe(1);
  });

  it("commands that arrive together share commits, and each gets its answer", async () => {
    await ready();
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, n) => leader.command(command(n + 1, "void", { vm: n + 1 }))),
    );
    expect(answers).toEqual(
      Array.from({ length: 60 }, (_, n) => ({
        id: command(n + 1, "void").id,
        vm: vmId(n + 1),
        attempt: 1,
        state: "void",
      })),
    );
  });

  it("S2: with too many requests waiting the next is told to try later", async () => {
    const host = await ready({ limits: { requests: 4 } });
    const slow = Promise.withResolvers<void>();
    host.journalFaults.until = slow.promise;
    const asked = Array.from({ length: 40 }, (_, n) => leader.command(command(n + 1, "void", { vm: n + 1 })));
    const first = await Promise.race(asked);
    expect(first).toMatchObject({ kind: "unavailable", reason: "busy", retryAfterMs: 1_000 });
    slow.resolve();
    const answers = await Promise.all(asked);
    const busy = answers.filter((answer) => "kind" in answer && answer.kind === "unavailable");
    expect(busy.length).toBeGreaterThan(20);
    expect(host.manager.state?.attempts.size).toBe(40 - busy.length);
  });

  it("says goodbye when it stops, and leaves its VMs running (H3)", async () => {
    const host = await ready();
    await leader.command(command(1, "start"));
    await until("running", () => leader.told(vmId(1), "running"));
    await host.manager.stop();
    await until("the goodbye", () => leader.presences.at(-1)?.type === "unavailable");
    expect(host.machine.domains().get(vmId(1))?.state).toBe("running");
    await host.restart();
    await heard();
    expect(await leader.inventory(50)).toMatchObject({ vms: [{ vm: vmId(1), state: "running" }] });
  });

  it("a hypervisor that hangs degrades the host, ends nothing, and is taken up again", async () => {
    const host = await ready();
    await leader.command(command(1, "start"));
    await until("running", () => leader.told(vmId(1), "running"));
    host.machine.hang();
    await until("degraded", () => leader.capacity?.condition === "degraded");
    expect(leader.presences.at(-1)?.show).toBe("away");
    expect(await leader.command(command(2, "start", { vm: 2 }))).toMatchObject({ reason: "hypervisor-unavailable" });
    host.machine.recover();
    await heard();
    expect(host.machine.domains().get(vmId(1))?.state).toBe("running");
    expect(leader.told(vmId(1), "failed")).toBeUndefined();
  });

  it("foreign domains are reported and left alone (H3)", async () => {
    const host = await ready();
    host.machine.addForeign("0f", { vcpus: 3, memoryMiB: 1_024, diskGiB: 0, gpus: 0 });
    await until("the foreign domain", () => leader.capacity?.foreignVms === 1 && leader.capacity.reserved.vcpus === 3);
    expect(host.machine.domains().size).toBe(1);
  });

  it("many of them live in one process", { timeout: 30_000 }, async () => {
    const names = Array.from({ length: 50 }, (_, n) => `n${n}`);
    for (const name of names) {
      const host = new Host(name, () => network.client(`${hostAccount(name, SITE)}/hm`), { heartbeatMs: 5_000 });
      hosts.push(host);
      await host.start();
    }
    await until("all of them", () => new Set(leader.presences.map(({ from }) => from)).size === names.length, 20_000);
    expect(new Set(leader.capacities.map(({ bootId }) => bootId)).size).toBe(names.length);
  });
});

describe("a process that ends", () => {
  it("H5: between storing and acting: the next one resumes the start, once", async () => {
    const host = await ready();
    host.journalFaults.loseNext = "stored";
    await expect(leader.command(command(1, "start"))).resolves.toMatchObject({ kind: "unavailable" });
    expect(host.fatal).toContain("journal cannot be written");
    expect(host.machine.beginningsOf(vmId(1), 1)).toBe(0);
    await host.restart();
    await until("running", () => leader.told(vmId(1), "running"));
    expect(await leader.command(command(1, "start"))).toMatchObject({ state: "starting" });
    expect(host.machine.beginningsOf(vmId(1), 1)).toBe(1);
  });

  it("before storing: nothing was promised, and the repeated command is as good as new", async () => {
    const host = await ready();
    host.journalFaults.loseNext = "not-stored";
    await leader.command(command(1, "start"));
    await host.restart();
    await heard();
    expect(await leader.inventory(50)).toMatchObject({ vms: [] });
    expect(host.machine.domains().size).toBe(0);
    expect(await leader.command(command(1, "start"))).toMatchObject({ state: "starting" });
    await until("running", () => leader.told(vmId(1), "running"));
  });

  it("H5: between acting and hearing how it ended: the next one finds the VM, and starts it no second time", async () => {
    const host = await ready();
    host.hypervisorFaults.deaf = true;
    await leader.command(command(1, "start"));
    await until("the domain", () => host.machine.domains().has(vmId(1)));
    host.hypervisorFaults.deaf = false;
    await host.restart();
    await until("running", () => leader.told(vmId(1), "running"));
    expect(host.machine.beginningsOf(vmId(1), 1)).toBe(1);
  });

  it("notices unacknowledged at its end are told by the next one", async () => {
    const host = await ready();
    leader.takesNotices = false;
    await leader.command(command(1, "start"));
    await until("a notice", () => leader.batches.length > 0);
    leader.takesNotices = true;
    await host.restart();
    await until("running", () => leader.told(vmId(1), "running"));
    await until("no notice left", () => host.manager.state?.notices.size === 0);
  });

  it("the machine lost its power: what ran is told as failed and stays so", async () => {
    const host = await ready();
    await leader.command(command(1, "start"));
    await until("running", () => leader.told(vmId(1), "running"));
    host.machine.powerCut();
    await host.restart();
    await until("failed", () => leader.told(vmId(1), "failed"));
    expect(await leader.command(command(2, "start"))).toMatchObject({ state: "failed" });
    expect(host.machine.domains().size).toBe(0);
  });
});

describe("a network that loses, repeats and reorders", () => {
  it("H2, H5: every command takes effect once, and every outcome is told", { timeout: 60_000 }, async () => {
    const host = await ready({ noticeMs: 100 });
    network.setFaults({ lossRate: 0.15, duplicateRate: 0.3, reorderRate: 0.3, reorderWithinMs: 30, delayMaxMs: 10 });
    const persist = async (id: number, action: "start" | "delete", vm: number): Promise<void> => {
      await until(`answer to ${action} ${vm}`, async () => {
        const outcome = await cloud.request({
          to: leader.host,
          type: "set",
          payload: commandMessage.encode(command(id, action, { vm, subject: subject({ size: { memoryMiB: 256 } }) })),
          timeoutMs: 150,
        });
        return outcome.kind === "result";
      });
    };
    const vms = Array.from({ length: 8 }, (_, n) => n + 1);
    await Promise.all(vms.map((vm) => persist(vm, "start", vm)));
    await until("all running", () => vms.every((vm) => leader.told(vmId(vm), "running")), 20_000);
    await Promise.all(vms.map((vm) => persist(100 + vm, "delete", vm)));
    await until("all gone", () => vms.every((vm) => leader.told(vmId(vm), "gone")), 20_000);
    for (const vm of vms) expect(host.machine.beginningsOf(vmId(vm), 1)).toBe(1);
    expect(host.machine.domains().size).toBe(0);
  });
});

describe("what others send", () => {
  const STRANGERS = ["ann@alpha.test/desk", `${hostAccount("h2", SITE)}/hm`, "cloud@alpha.test/x"];

  function conditionOf(outcome: IqOutcome): string | undefined {
    return outcome.kind === "error" ? outcome.fault.condition : outcome.kind;
  }

  it.each(STRANGERS)("orders of %s are forbidden and change nothing", async (address) => {
    const host = await ready();
    const stranger = network.client(address);
    stranger.start();
    await until("the stranger to be online", () => stranger.status.kind === "online");
    for (const [type, name, namespace] of [
      ["set", "command", NS_COMMAND],
      ["set", "hello", NS_HELLO],
    ] as const) {
      const payload =
        name === "command"
          ? commandMessage.encode(command(1, "start"))
          : new Element(name, { xmlns: namespace, term: "99", manager: "x" });
      const outcome = await stranger.request({ to: leader.host, type, payload, timeoutMs: 2_000 });
      expect(conditionOf(outcome)).toBe("forbidden");
    }
    expect(host.manager.state?.head.term).toBe(0);
    expect(host.manager.state?.attempts.size).toBe(0);
    await stranger.stop();
  });

  it("orders of an address below the leader's, and of another site's leader, are forbidden", async () => {
    await ready();
    const payload = () => commandMessage.encode(command(1, "start"));
    const below = await cloud.request({
      to: leader.host,
      from: `vm-1@cloud.${SITE}`,
      type: "set",
      payload: payload(),
      timeoutMs: 2_000,
    });
    expect(conditionOf(below)).toBe("forbidden");
    const other = network.component("cloud.beta.test");
    other.start();
    await until("the other site", () => other.status.kind === "online");
    const outcome = await other.request({ to: leader.host, type: "set", payload: payload(), timeoutMs: 2_000 });
    expect(conditionOf(outcome)).toBe("forbidden");
    await other.stop();
  });

  it("S1: a command with a wrong field is refused and the field named", async () => {
    const host = await ready();
    const wrong = commandMessage.encode(command(1, "start"));
    wrong.attrs.attempt = "-1";
    const outcome = await leader.ask("set", wrong);
    if (outcome.kind !== "error" || outcome.fault.application === undefined) throw new Error("not refused");
    expect(outcome.fault.condition).toBe("bad-request");
    expect(refusalMessage.decode(outcome.fault.application)).toMatchObject({
      value: { kind: "bad-request", field: "attempt" },
    });
    expect(host.manager.state?.attempts.size).toBe(0);
  });

  it("S1: garbage in every place is refused, changes nothing and harms nothing", { timeout: 30_000 }, async () => {
    const host = await ready();
    const attribute = fc.constantFrom("id", "term", "action", "vm", "attempt", "subject", "after", "max");
    const value = fc.string({ maxLength: 40, unit: fc.constantFrom(..."0123456789-<>&é漢x ") });
    const garbage = fc.record({
      name: fc.constantFrom("command", "hello", "query", "nonsense"),
      attributes: fc.dictionary(attribute, value, { maxKeys: 5 }),
      child: fc.option(fc.record({ name: fc.constantFrom("subject", "spec", "x"), text: value })),
    });
    await fc.assert(
      fc.asyncProperty(garbage, async ({ name, attributes, child }) => {
        const namespace = name === "query" ? "urn:muster:inventory:1" : name === "hello" ? NS_HELLO : NS_COMMAND;
        const element = new Element(name, { ...attributes, xmlns: namespace });
        if (child !== null) element.c(child.name).t(child.text);
        const outcome = await leader.ask(name === "query" ? "get" : "set", element);
        expect(["bad-request", "service-unavailable", "feature-not-implemented", "not-allowed", "result"]).toContain(
          conditionOf(outcome),
        );
      }),
      { numRuns: 200 },
    );
    expect(host.manager.state?.attempts.size).toBe(0);
    expect(await leader.command(command(1, "start"))).toMatchObject({ state: "starting" });
  });
});
