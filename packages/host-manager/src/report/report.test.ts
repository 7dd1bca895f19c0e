import { capacityMessage, noticesMessage } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { nextDueMs } from "../core/step.ts";
import { CoreWorld, testPolicy } from "../testing/core-world.ts";
import { command, subject, vmId } from "../testing/fixture.ts";
import { capacityOf } from "./capacity.ts";
import { inventoryDigest } from "./inventory.ts";
import { capacityPresence, goodbyePresence } from "./presence.ts";

function at(world: CoreWorld, nowMs: number): void {
  world.nowMs = nowMs;
  world.take({ kind: "tick" });
}

describe("capacity reports", () => {
  it("go out as heartbeat, with a rising sequence, also when nothing changes", () => {
    const world = CoreWorld.ready();
    world.reports.length = 0;
    const { heartbeatMs } = world.policy;
    const startMs = world.state.timing.reportDueMs;
    for (let beat = 0; beat < 5; beat += 1) at(world, startMs + beat * heartbeatMs);
    const sequences = world.reports.map(({ capacity }) => capacity.sequence);
    expect(sequences).toHaveLength(5);
    expect(sequences.every((sequence, index) => index === 0 || sequence === (sequences[index - 1] ?? 0) + 1)).toBe(
      true,
    );
  });

  it("collect the changes of a while, and then tell them once", () => {
    const world = CoreWorld.ready();
    at(world, world.nowMs + 5_000);
    world.reports.length = 0;
    const changedMs = world.nowMs;
    for (let vm = 1; vm <= 4; vm += 1) world.command(command(vm, "start", { vm }));
    while (world.pending.length > 0) world.carryOut();
    expect(world.reports).toEqual([]);
    expect(nextDueMs(world.state)).toBe(changedMs + world.policy.reportMs);
    at(world, changedMs + world.policy.reportMs);
    expect(world.reports).toHaveLength(1);
    expect(world.reports[0]?.capacity).toMatchObject({ vms: 4, used: { vcpus: 4 } });
  });

  it("tell images and labels as the machine has them now, after what its admin says of it", () => {
    const world = CoreWorld.ready({ ...testPolicy(), labels: { virt: "said" }, images: ["debian-12"] });
    const total = { vcpus: 8, memoryMiB: 8_192, diskGiB: 100, gpus: 0 };
    const facts = { total, driver: "QEMU", hypervisor: "test", labels: { virt: "qemu", gpu: "a100" } };
    const images = [`sha256:${"a".repeat(64)}`, `sha256:${"b".repeat(64)}`];
    world.reports.length = 0;
    world.take({ kind: "surveyed", outcome: { kind: "surveyed", facts: { ...facts, images }, domains: [] } });
    at(world, world.nowMs + world.policy.reportMs);
    expect(world.reports.at(-1)?.capacity).toMatchObject({
      labels: { virt: "said", gpu: "a100" },
      images: ["debian-12", images[1], images[0]],
    });
  });

  it("go out at once when the link comes up and when the hypervisor falls silent", () => {
    const world = CoreWorld.ready();
    world.reports.length = 0;
    world.take({ kind: "unlinked" }, { kind: "linked" });
    expect(world.reports).toHaveLength(1);
    world.take({ kind: "hypervisor-down", reason: "silent" });
    expect(world.reports.at(-1)?.capacity.condition).toBe("degraded");
  });

  it("nothing is reported, nor waited for, without a link", () => {
    const world = CoreWorld.ready();
    world.take({ kind: "unlinked" });
    world.reports.length = 0;
    at(world, world.nowMs + 60_000);
    expect(world.reports).toEqual([]);
    expect(nextDueMs(world.state)).toBeGreaterThan(world.nowMs);
  });

  it("nothing is reported before the hypervisor was heard: what is free is not guessed", () => {
    const world = new CoreWorld();
    world.take({ kind: "linked" });
    expect(nextDueMs(world.state)).toBe(Number.POSITIVE_INFINITY);
    world.take({ kind: "hypervisor-up" });
    at(world, world.nowMs + 60_000);
    expect(world.reports).toEqual([]);
    expect(nextDueMs(world.state)).toBeGreaterThan(world.nowMs);
    world.domains.set("foreign", { state: "running" });
    world.survey();
    expect(world.reports).toHaveLength(1);
    expect(world.reports[0]?.capacity).toMatchObject({ condition: "accepting", reserved: { vcpus: 1 } });
  });

  it("a hypervisor that cannot be reached from the start is reported as such", () => {
    const world = new CoreWorld();
    world.take({ kind: "linked" }, { kind: "hypervisor-down", reason: "no socket" });
    expect(world.reports.at(-1)?.capacity).toMatchObject({ condition: "degraded", total: { vcpus: 8 } });
  });

  it("the digest is that of the sorted list, and the same after a restart", () => {
    const world = CoreWorld.ready();
    for (const vm of [3, 1, 2]) world.command(command(vm, "void", { vm }));
    const { digest } = world.state.head;
    expect(digest).toBe(inventoryDigest([...world.state.attempts.values()].reverse()));
    world.crash();
    expect(world.state.head.digest).toBe(digest);
    world.command(command(9, "void", { vm: 4 }));
    expect(world.state.head.digest).not.toBe(digest);
  });

  it("show people and machines the condition: accepting, full, degraded", () => {
    const world = CoreWorld.ready({ labels: { region: "eu-south" } });
    const presence = () => capacityPresence("cloud.alpha.test", capacityOf(world.state, 1));
    expect(presence().getChild("show")).toBeUndefined();
    expect(presence().getChildText("status")).toBe("8/8 vCPU free, 0 VMs, eu-south");
    world.command(command(1, "start", { subject: subject({ size: { vcpus: 8 } }) }));
    expect(presence().getChildText("show")).toBe("dnd");
    expect(presence().getChildText("status")).toBe("0/8 vCPU free, 1 VM, eu-south");
    world.take({ kind: "hypervisor-down", reason: "silent" });
    expect(presence().getChildText("show")).toBe("away");
    const element = presence().getChild("capacity", capacityMessage.namespace);
    expect(element && capacityMessage.decode(element)).toMatchObject({ ok: true, value: { condition: "degraded" } });
    expect(goodbyePresence("cloud.alpha.test").attrs.type).toBe("unavailable");
  });

  it("S2: the largest capacity stays under the bound of a stanza", () => {
    const labels = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`label-${n}`, "v".repeat(63)]));
    const images = Array.from({ length: 200 }, (_, n) => `sha256:${String(n).padStart(64, "0")}`);
    const world = CoreWorld.ready({ ...testPolicy(), labels, images });
    expect(capacityPresence("cloud.alpha.test", capacityOf(world.state, 1)).toString().length).toBeLessThan(65_536);
  });
});

describe("the inventory", () => {
  it("comes in pages in order of VM id that add up to the whole list", () => {
    const world = CoreWorld.ready();
    for (let vm = 1; vm <= 120; vm += 1) world.command(command(vm, "void", { vm }));
    const seen: string[] = [];
    let after: string | undefined;
    for (let complete = false; !complete; ) {
      const query = { max: 50, ...(after === undefined ? {} : { after }) };
      const answer = world.ask((ticket) => ({ kind: "inventory", ticket, query }));
      if (answer.kind !== "page") throw new Error(answer.kind);
      expect(answer.page).toMatchObject({ digest: world.state.head.digest, revision: world.state.head.revision });
      seen.push(...answer.page.vms.map(({ vm }) => vm));
      after = seen.at(-1);
      complete = answer.page.complete;
    }
    expect(seen).toEqual(Array.from({ length: 120 }, (_, n) => vmId(n + 1)));
  });
});

describe("notices", () => {
  /** A world whose leader hears and does not acknowledge. */
  function unanswered(): { world: CoreWorld; batches: number[][] } {
    const batches: number[][] = [];
    const world = CoreWorld.ready();
    const take = world.take.bind(world);
    world.take = (...events) =>
      take(
        ...events.map((event) =>
          event.kind === "notices-taken" ? ({ kind: "notices-unanswered", batch: event.batch } as const) : event,
        ),
      );
    const push = world.told.push.bind(world.told);
    world.told.push = (...notices) => {
      batches.push(notices.map(({ sequence }) => sequence));
      return push(...notices);
    };
    return { world, batches };
  }

  /** A world in which nothing comes back of a batch, not even that nobody is there; `tell` has something come back. */
  function silent(): { world: CoreWorld; batches: number[][]; tell: CoreWorld["take"] } {
    const { world, batches } = unanswered();
    const tell = CoreWorld.prototype.take.bind(world);
    world.take = (...events) => {
      const heard = events.filter(({ kind }) => kind !== "notices-taken");
      if (heard.length > 0) tell(...heard);
    };
    return { world, batches, tell };
  }

  it("are sent again, after growing waits, until they are acknowledged", () => {
    const { world, batches } = unanswered();
    world.command(command(1, "start"));
    world.carryOut();
    expect(batches).toEqual([[1]]);
    const waits: number[] = [];
    for (let again = 0; again < 12; again += 1) {
      const dueMs = world.state.timing.noticesDueMs;
      waits.push(dueMs - world.nowMs);
      at(world, dueMs);
    }
    expect(batches).toHaveLength(13);
    expect(waits.slice(0, 3)).toEqual([500, 1_000, 2_000]);
    expect(Math.max(...waits)).toBe(world.policy.noticeRetryMsMax);
    expect(world.disk.has(`notice/${vmId(1)}`)).toBe(true);
  });

  it("L4: a new leader hears them at once, however long they had to wait", () => {
    const { world, batches } = unanswered();
    world.command(command(1, "start"));
    world.carryOut();
    for (let again = 0; again < 8; again += 1) at(world, world.state.timing.noticesDueMs);
    const before = batches.length;
    expect(world.state.timing.noticesDueMs).toBeGreaterThan(world.nowMs);
    world.ask((ticket) => ({ kind: "hello", ticket, hello: { term: 2, manager: "b" } }));
    expect(batches.length).toBe(before + 1);
  });

  it("L4: a new leader hears news at once, also while nobody answers for what was sent to its predecessor", () => {
    const { world, batches, tell } = silent();
    world.command(command(1, "start"));
    world.command(command(2, "start", { vm: 2 }));
    world.carryOut();
    expect(batches).toEqual([[1]]);
    world.ask((ticket) => ({ kind: "hello", ticket, hello: { term: 2, manager: "b" } }));
    expect(batches).toEqual([[1], [1]]);
    tell({ kind: "notices-taken", batch: 2, sequence: 1 });
    world.carryOut();
    expect(batches).toEqual([[1], [1], [2]]);
  });

  it("what comes back of a batch that was given up says nothing of a later one", () => {
    const { world, batches, tell } = silent();
    world.command(command(1, "start"));
    world.carryOut();
    world.ask((ticket) => ({ kind: "hello", ticket, hello: { term: 2, manager: "b" } }));
    tell({ kind: "notices-unanswered", batch: 1 }, { kind: "notices-taken", batch: 1, sequence: 1 });
    expect(world.state.notices.size).toBe(1);
    expect(world.state.timing.noticesSent).toBe(1);
    tell({ kind: "notices-taken", batch: 2, sequence: 1 });
    expect(world.state.notices.size).toBe(0);
    expect(batches).toHaveLength(2);
  });

  it("an acknowledgement of more than was sent takes only what was sent", () => {
    const world = CoreWorld.ready();
    world.take({ kind: "unlinked" });
    world.command(command(1, "start"));
    world.settle();
    world.take({ kind: "notices-taken", batch: world.state.timing.batch, sequence: 99 });
    expect(world.state.notices.size).toBe(1);
  });

  it("S2: a batch of fifty, each with the longest reason, stays under the bound of a stanza", () => {
    const world = CoreWorld.ready();
    world.take({ kind: "unlinked" });
    for (let vm = 1; vm <= 60; vm += 1) {
      world.command(command(vm, "start", { vm, subject: subject({ size: { vcpus: 1, memoryMiB: 16, diskGiB: 1 } }) }));
    }
    world.take({ kind: "hypervisor-changed" });
    const notices = Array.from({ length: 50 }, (_, n) => ({
      vm: vmId(n),
      attempt: 1,
      state: "failed" as const,
      reason: "x".repeat(200),
      sequence: n + 1,
    }));
    expect(noticesMessage.encode({ bootId: world.state.bootId, notices }).toString().length).toBeLessThan(32_768);
  });
});
