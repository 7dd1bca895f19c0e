import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { DomainPlan, Hypervisor } from "../hypervisor/port.ts";
import { uuid } from "../testing/fixture.ts";
import { QemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import type { MoveOrder, MoveOutcome } from "./port.ts";

describe.runIf(whyNoQemu() === undefined)("a live move between two machines with QEMU", () => {
  let [source, destination]: [QemuMachine, QemuMachine] = [] as never;
  let [from, to]: [Hypervisor, Hypervisor] = [] as never;
  let number = 100;
  let plan: DomainPlan;

  beforeAll(async () => {
    source = await QemuMachine.start();
    destination = await QemuMachine.start();
    [from, to] = [await opened(source), await opened(destination)];
  }, 90_000);
  afterAll(async () => {
    await source.remove();
    await destination.remove();
  });
  beforeEach(async () => {
    number += 1;
    plan = withoutNics(source.plan(number));
    expect((await from.start(plan)).kind).toBe("done");
  });

  const incoming = (): DomainPlan => ({ ...withoutNics(destination.plan(number)), vm: plan.vm, attempt: 2 });

  async function prepared(): Promise<Extract<MoveOutcome, { kind: "done" }>> {
    const { xml = "", cookie = "" } = await done(from, { step: "begin", vm: plan.vm });
    return done(to, { step: "prepare", vm: plan.vm, plan: incoming(), xml, cookie });
  }

  async function performed(): Promise<Extract<MoveOutcome, { kind: "done" }>> {
    const { link = NO_LINK, cookie = "" } = await prepared();
    return done(from, { step: "perform", vm: plan.vm, link, cookie });
  }

  it("P1, M2: sends the guest over, runs it there under its new attempt, and leaves nothing at the source", async () => {
    const { cookie = "" } = await performed();
    expect(await states()).toEqual(["paused", "paused"]);
    const { domain } = await done(to, { step: "finish", vm: plan.vm, cookie });
    expect(domain).toMatchObject({ state: "running", plan: { attempt: 2, subject: { name: plan.subject.name } } });
    await done(from, { step: "confirm", vm: plan.vm });
    expect(await states()).toEqual(["none", "running"]);
    expect(await source.left()).toEqual({ domains: [], folders: [], uses: [] });
    expect(sockets(source)).toEqual([]);
    expect(sockets(destination)).toEqual([]);
    expect((await to.act(plan.vm, "delete")).kind).toBe("done");
    expect(await destination.left()).toEqual({ domains: [], folders: [], uses: [] });
  });

  it("M1, M4: given up after everything was sent, it goes on at the source, and nothing of it is left over there", async () => {
    await performed();
    await done(to, { step: "abandon", vm: plan.vm });
    const { domain } = await done(from, { step: "resume", vm: plan.vm });
    expect(domain).toMatchObject({ state: "running", plan: { attempt: 1 } });
    expect(await destination.left()).toEqual({ domains: [], folders: [], uses: [] });
    expect((await from.act(plan.vm, "delete")).kind).toBe("done");
  });

  it("M3: a new process over the same libvirtd brings it to its end, either way", async () => {
    await performed();
    const [newFrom, newTo] = [await opened(source), await opened(destination)];
    await done(newTo, { step: "abandon", vm: plan.vm });
    expect(await done(newFrom, { step: "resume", vm: plan.vm })).toMatchObject({ domain: { state: "running" } });
    const { cookie = "" } = await performed();
    await done(to, { step: "finish", vm: plan.vm, cookie });
    expect(await done(newTo, { step: "abandon", vm: plan.vm })).toMatchObject({ domain: { state: "running" } });
    await done(newFrom, { step: "confirm", vm: plan.vm });
    await done(newFrom, { step: "confirm", vm: plan.vm });
    expect(await states()).toEqual(["none", "running"]);
    await to.act(plan.vm, "delete");
  });

  it("M1: a destination that goes away amid the sending leaves the guest running at the source", async () => {
    const { link = NO_LINK, cookie = "" } = await prepared();
    await done(to, { step: "abandon", vm: plan.vm });
    const outcome = await from.mover?.carryOut({ step: "perform", vm: plan.vm, link, cookie });
    expect(outcome?.kind).toBe("refused");
    expect(await done(from, { step: "resume", vm: plan.vm })).toMatchObject({ domain: { state: "running" } });
    await from.act(plan.vm, "delete");
  });

  it("refuses what belongs to another machine, and leaves nothing of it", async () => {
    const { xml = "", cookie = "" } = await done(from, { step: "begin", vm: plan.vm });
    const other = { ...incoming(), vm: uuid(9_999, 1) };
    const refused = await to.mover?.carryOut({ step: "prepare", vm: other.vm, plan: other, xml, cookie });
    expect(refused).toMatchObject({ kind: "refused", reason: expect.stringContaining("the source describes domain") });
    const foreign = xml.replace('type="qemu"', 'type="kvm"').replace("type='qemu'", "type='kvm'");
    const kvm = await to.mover?.carryOut({ step: "prepare", vm: plan.vm, plan: incoming(), xml: foreign, cookie });
    expect(kvm).toMatchObject({ kind: "refused", reason: expect.stringContaining("kvm") });
    expect(await destination.left()).toEqual({ domains: [], folders: [], uses: [] });
    await done(from, { step: "resume", vm: plan.vm });
    await from.act(plan.vm, "delete");
  });

  async function states(): Promise<string[]> {
    const all: string[] = [];
    for (const { behind } of [source, destination]) {
      const domain = await behind.domains.lookupByUuid(plan.vm);
      all.push(domain === undefined ? "none" : (await behind.domains.state(domain)).state);
    }
    return all;
  }
});

const NO_LINK = { address: "127.0.0.1", port: 1, key: "A".repeat(43) };

async function opened(machine: QemuMachine): Promise<Hypervisor> {
  const hypervisor = machine.connect();
  await new Promise<void>((resolve) => hypervisor.open(({ kind }) => kind === "up" && resolve()));
  return hypervisor;
}

async function done(hypervisor: Hypervisor, order: MoveOrder): Promise<Extract<MoveOutcome, { kind: "done" }>> {
  const outcome = await hypervisor.mover?.carryOut(order);
  if (outcome?.kind !== "done") throw new Error(`${order.step}: ${outcome?.reason}`);
  return outcome;
}

/** User networking is bound to its host. */
function withoutNics(plan: DomainPlan): DomainPlan {
  const { guest } = plan.subject;
  return guest === undefined ? plan : { ...plan, subject: { ...plan.subject, guest: { ...guest, nics: [] } } };
}

function sockets({ state }: QemuMachine): string[] {
  return readdirSync(join(state, "moves"));
}
