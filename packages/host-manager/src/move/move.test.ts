import { seededRng, VirtualClock } from "@muster/base";
import {
  cloudAddress,
  commandMessage,
  commandOutcomeMessage,
  hostAccount,
  type Move,
  type MoveState,
  type MoveStep,
  moveMessage,
  moveStateMessage,
  type Notice,
  noticesMessage,
  noticesTakenMessage,
  type Refusal,
} from "@muster/protocol";
import { type Bus, memoryNetwork } from "@muster/xmpp";
import { describe, expect, it } from "vitest";
import { hostConfigSchema } from "../config.ts";
import { createHostManager, type HostManager } from "../host-manager.ts";
import { SimulatedMachine } from "../hypervisor/simulated.ts";
import { type MemoryDisk, memoryDisk, memoryJournal } from "../journal/memory.ts";
import { command, subject, uuid, vmId } from "../testing/fixture.ts";
import { answered } from "../testing/leader.ts";

const SITE = "alpha.test";
const VM = vmId(1);
const MOVE = uuid(1, 7);

describe("a live move, as its leader steers it", () => {
  it("P1: ends with the guest at the destination alone, and never has it running twice", async () => {
    const site = await Site.running();
    const begun = await site.move("source", "begin");
    expect(begun).toMatchObject({ stage: "begun", xml: expect.any(String) });
    const prepared = await site.move("destination", "prepare", begun);
    expect(prepared).toMatchObject({ stage: "prepared", link: { port: 1 } });
    expect(await site.move("source", "perform", prepared)).toMatchObject({ stage: "performed" });
    expect(site.running()).toEqual([]);
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "finished" });
    expect(site.running()).toEqual(["destination"]);
    expect(await site.move("source", "confirm")).toMatchObject({ stage: "confirmed" });
    await site.pass(2_000);
    expect(site.source.machine.domains().size).toBe(0);
    expect(site.told("source")).toMatchObject({ attempt: 1, state: "gone" });
    expect(site.told("destination")).toMatchObject({ attempt: 2, state: "running" });
  });

  it("M1, H5: given up after the copying it goes on at the source, and its attempt over there never starts", async () => {
    const site = await Site.performed();
    expect(await site.move("destination", "abandon")).toMatchObject({ stage: "abandoned" });
    expect(await site.move("source", "resume")).toMatchObject({ stage: "resumed" });
    await site.pass(2_000);
    expect(site.running()).toEqual(["source"]);
    expect(await site.command("destination", "start", 2)).toMatchObject({ state: "void" });
    expect(await site.move("destination", "prepare", PREPARATION)).toMatchObject({ stage: "failed" });
  });

  it("H3: gives up its part when the attempt is ordered to be deleted, since nobody speaks of the move any more", async () => {
    const site = await Site.performed();
    expect(await site.command("destination", "delete", 2)).toMatchObject({ state: "starting" });
    expect(await site.command("source", "delete", 1)).toMatchObject({ state: "running" });
    await site.pass(4_000);
    expect(site.source.machine.domains().size).toBe(0);
    expect(site.destination.machine.domains().size).toBe(0);
    expect(site.told("source")).toMatchObject({ attempt: 1, state: "gone" });
    expect(site.told("destination")).toMatchObject({ attempt: 2, state: "void" });
  });

  it("B3: is not begun by what arrives after its end", async () => {
    const site = await Site.running();
    expect(await site.move("source", "resume")).toMatchObject({ stage: "resumed" });
    expect(await site.move("source", "begin")).toMatchObject({ stage: "failed" });
    expect(await site.command("source", "stop", 1)).toMatchObject({ state: "running" });
  });

  it("H5: what was never prepared is voided by giving it up, whatever arrives late", async () => {
    const site = await Site.running();
    expect(await site.move("destination", "abandon")).toMatchObject({ stage: "abandoned" });
    expect(await site.move("destination", "prepare", PREPARATION)).toMatchObject({ stage: "failed" });
    expect(site.destination.machine.domains().size).toBe(0);
  });

  it("P1: takes no other order about the VM meanwhile, and does not report what the move makes it look like", async () => {
    const site = await Site.performed();
    await site.pass(10_000);
    expect(site.told("source")).toMatchObject({ state: "running" });
    for (const action of ["start", "resume", "stop"] as const)
      for (const [host, attempt] of [
        ["source", 1],
        ["destination", 2],
      ] as const)
        expect(await site.command(host, action, attempt)).toMatchObject({ kind: "unavailable", reason: "moving" });
    expect(await site.command("source", "void", 1)).toMatchObject({ kind: "unavailable", reason: "moving" });
    expect(site.running()).toEqual([]);
  });

  it("H5: a destination whose attempt is voided gives its part up, and never runs it", async () => {
    const site = await Site.performed();
    expect(await site.command("destination", "void", 2)).toMatchObject({ state: "starting" });
    await site.pass(1_000);
    expect(site.told("destination")).toMatchObject({ state: "void" });
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "failed" });
    expect(await site.move("source", "resume")).toMatchObject({ stage: "resumed" });
    expect(site.running()).toEqual(["source"]);
  });

  it("H1: obeys no leader of a lower term than it has obeyed", async () => {
    const site = await Site.running();
    expect(await site.move("source", "begin", {}, 3)).toMatchObject({ stage: "begun" });
    expect(await site.move("source", "resume", {}, 2)).toMatchObject({ kind: "stale-term" });
  });

  it("H2: a step asked again tells how it stands and is not done again", async () => {
    const site = await Site.performed();
    await site.move("destination", "finish");
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "finished" });
    expect(await site.move("source", "perform", PREPARATION)).toMatchObject({ stage: "performed" });
    await site.move("source", "confirm");
    expect(await site.move("source", "confirm")).toMatchObject({ stage: "confirmed" });
    expect(site.destination.machine.beginningsOf(VM, 2)).toBe(1);
  });
});

describe("a live move and a host manager that ends in the middle of it", () => {
  it("P1: the source is left as it is by its new process, until the leader knows how it ended", async () => {
    const site = await Site.performed();
    await site.restart("source");
    await site.pass(10_000);
    expect(site.running()).toEqual([]);
    expect(await site.move("source", "perform", PREPARATION)).toMatchObject({ stage: "failed" });
    expect(await site.move("destination", "abandon")).toMatchObject({ stage: "abandoned" });
    expect(await site.move("source", "resume")).toMatchObject({ stage: "resumed" });
    expect(site.running()).toEqual(["source"]);
  });

  it("a guest that came to run at the destination is found there by its new process", async () => {
    const site = await Site.performed();
    await site.move("destination", "finish");
    await site.restart("destination");
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "finished" });
    expect(await site.move("destination", "abandon")).toMatchObject({ stage: "finished" });
    expect(site.running()).toEqual(["destination"]);
  });

  it("P1: what ran at the destination and is gone is told as what ran, so that its source does not go on from before", async () => {
    const site = await Site.performed();
    await site.move("destination", "finish");
    site.destination.machine.powerCut();
    await site.restart("destination");
    await site.pass(6_000);
    expect(site.told("destination")).toMatchObject({ attempt: 2, state: "failed" });
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "finished" });
    expect(await site.move("destination", "abandon")).toMatchObject({ stage: "finished" });
  });

  it("P1: a guest that may have come to run as its machine went down counts as one that ran", async () => {
    const site = await Site.performed();
    site.destination.machine.hang();
    await site.move("destination", "finish");
    site.destination.machine.powerCut();
    site.destination.machine.recover();
    await site.restart("destination");
    await site.pass(6_000);
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "finished" });
    expect(site.told("destination")).toMatchObject({ attempt: 2, state: "failed" });
  });

  it("what was prepared ends with the process that did it, and is void", async () => {
    const site = await Site.performed();
    site.destination.machine.powerCut();
    await site.restart("destination");
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "failed" });
    expect(site.told("destination")).toMatchObject({ attempt: 2, state: "void" });
    expect(await site.move("source", "resume")).toMatchObject({ stage: "resumed" });
  });

  it("V3: a finish without an answer is told by the next survey", async () => {
    const site = await Site.performed();
    site.destination.machine.hang();
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "underway" });
    site.destination.machine.recover();
    await site.pass(6_000);
    expect(await site.move("destination", "finish")).toMatchObject({ stage: "finished" });
  });
});

const PREPARATION = { xml: "<domain/>", cookie: "", link: { address: "127.0.0.1", port: 1, key: "A".repeat(43) } };

type Role = "source" | "destination";
type Node = { readonly machine: SimulatedMachine; readonly disk: MemoryDisk; manager: HostManager };

/** Two hosts and a leader that says what a test has it say, on a virtual clock. */
class Site {
  readonly clock = new VirtualClock();
  readonly network = memoryNetwork({ clock: this.clock, rng: seededRng(7), faults: {} });
  readonly cloud: Bus = this.network.component(cloudAddress(SITE));
  readonly notices: (Notice & { readonly from: string })[] = [];
  readonly source: Node = this.#node("source");
  readonly destination: Node = this.#node("destination");
  #commands = 0;

  static async running(): Promise<Site> {
    const site = new Site();
    site.cloud.handle("set", noticesMessage.namespace, noticesMessage.name, ({ from, payload }) => {
      const decoded = noticesMessage.decode(payload);
      if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
      const { notices } = decoded.value;
      site.notices.push(...notices.map((notice) => ({ ...notice, from })));
      return { kind: "result", payload: noticesTakenMessage.encode({ sequence: notices.at(-1)?.sequence ?? 0 }) };
    });
    site.cloud.start();
    for (const node of [site.source, site.destination]) await node.manager.start();
    await site.pass(1_000);
    await site.command("source", "start", 1);
    await site.pass(1_000);
    return site;
  }

  static async performed(): Promise<Site> {
    const site = await Site.running();
    const begun = await site.move("source", "begin");
    const prepared = await site.move("destination", "prepare", begun);
    await site.move("source", "perform", prepared);
    return site;
  }

  async move(
    role: Role,
    step: MoveStep,
    given: Partial<MoveState> | Refusal = {},
    term = 1,
  ): Promise<MoveState | Refusal> {
    if ("kind" in given) throw new Error(given.message);
    const { xml, cookie, link } = given;
    const question: Move = {
      id: MOVE,
      term,
      step,
      vm: VM,
      attempt: role === "source" ? 1 : 2,
      waitMs: 2_000,
      ...(step === "prepare" ? { subject: subject() } : {}),
      ...(xml === undefined ? {} : { xml }),
      ...(cookie === undefined ? {} : { cookie }),
      ...(link === undefined ? {} : { link }),
    };
    return this.#ask(role, moveMessage.encode(question), moveStateMessage);
  }

  command(role: Role, action: Parameters<typeof command>[1], attempt: number) {
    this.#commands += 1;
    return this.#ask(role, commandMessage.encode(command(this.#commands, action, { attempt })), commandOutcomeMessage);
  }

  /** Hosts on which the guest runs. */
  running(): Role[] {
    return (["source", "destination"] as const).filter(
      (role) => this[role].machine.domains().get(VM)?.state === "running",
    );
  }

  told(role: Role): Notice | undefined {
    return this.notices.findLast(({ from }) => from.startsWith(hostAccount(role, SITE)));
  }

  async restart(role: Role): Promise<void> {
    const stopping = this[role].manager.stop();
    await this.pass(500);
    await stopping;
    this[role].manager = this.#manager(role, this[role].machine, this[role].disk);
    await this[role].manager.start();
    await this.pass(1_000);
  }

  async pass(durationMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 10) {
      this.clock.advance(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #ask<Value>(
    role: Role,
    payload: Parameters<typeof moveMessage.decode>[0],
    message: Parameters<typeof answered<Value>>[1],
  ) {
    const to = `${hostAccount(role, SITE)}/hm`;
    const asked = this.cloud.request({ to, type: "set", payload, timeoutMs: 20_000 });
    let over = false;
    void asked.finally(() => {
      over = true;
    });
    for (let steps = 0; !over && steps < 2_000; steps += 1) await this.pass(10);
    return answered(await asked, message);
  }

  #node(role: Role): Node {
    const machine = new SimulatedMachine({
      clock: this.clock,
      total: { vcpus: 8, memoryMiB: 8_192, diskGiB: 100, gpus: 0 },
      stopMs: 20,
    });
    const disk = memoryDisk();
    return { machine, disk, manager: this.#manager(role, machine, disk) };
  }

  #manager(role: Role, machine: SimulatedMachine, disk: MemoryDisk): HostManager {
    return createHostManager({
      config: hostConfigSchema.parse({
        site: SITE,
        name: role,
        state: "/nowhere",
        xmpp: { service: "xmpps://127.0.0.1:5223", passwordFile: "/nowhere" },
        hypervisor: { kind: "simulated" },
      }),
      clock: this.clock,
      rng: seededRng(3),
      bus: this.network.client(`${hostAccount(role, SITE)}/hm`),
      hypervisor: machine.connect(),
      journal: memoryJournal(disk),
      log: { info: () => {}, warn: () => {}, error: () => {} },
      onFatal: (reason) => {
        throw new Error(reason);
      },
    });
  }
}
