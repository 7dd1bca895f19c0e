import { describe, expect, it } from "vitest";
import { CoreWorld } from "../testing/core-world.ts";
import { command, subject, vmId } from "../testing/fixture.ts";

/** A world in which attempt 1 at VM 1 runs. */
function running(): CoreWorld {
  const world = CoreWorld.ready();
  world.command(command(900, "start"));
  world.settle();
  expect(world.domains.get(vmId(1))?.state).toBe("running");
  return world;
}

describe("the term", () => {
  it("H1: a command of a lower term than one obeyed is refused and changes nothing", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "void", { term: 5 }));
    const before = new Map(world.disk);
    expect(world.command(command(2, "start", { term: 4, vm: 2 }))).toMatchObject({
      kind: "refused",
      refusal: { kind: "stale-term", field: "term", message: expect.stringContaining("term 5") },
    });
    expect(world.disk).toEqual(before);
    expect(world.pending).toEqual([]);
  });

  it("H1: a higher term is stored with what was done under it, and survives the process", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start", { term: 9 }));
    world.crash();
    expect(world.state.head.term).toBe(9);
    expect(world.command(command(2, "void", { term: 8, vm: 2 }))).toMatchObject({ refusal: { kind: "stale-term" } });
  });

  it("H1: hello stores the term before it is answered; a stale hello is refused", () => {
    const world = CoreWorld.ready();
    const hello = (term: number) => world.ask((ticket) => ({ kind: "hello", ticket, hello: { term, manager: "a" } }));
    expect(hello(3)).toEqual({ kind: "welcome", welcome: { term: 3, bootId: world.state.bootId } });
    expect(JSON.parse(world.disk.get("head") ?? "{}")).toMatchObject({ term: 3 });
    expect(hello(2)).toMatchObject({ refusal: { kind: "stale-term" } });
    expect(hello(3)).toMatchObject({ kind: "welcome" });
  });

  it("L1: refuses a second leader of one term, also after a restart, and obeys one of a higher term", () => {
    const world = CoreWorld.ready();
    const [one, other] = ["0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b", "0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a1c"];
    const hello = (term: number, opening: string) =>
      world.ask((ticket) => ({ kind: "hello", ticket, hello: { term, manager: "a", opening } }));
    expect(hello(3, one)).toMatchObject({ kind: "welcome" });
    expect(hello(3, one)).toMatchObject({ kind: "welcome" });
    expect(hello(3, other)).toMatchObject({ refusal: { kind: "stale-term", reason: "term-given-twice" } });
    world.crash();
    expect(hello(3, other)).toMatchObject({ refusal: { reason: "term-given-twice" } });
    expect(hello(4, other)).toMatchObject({ kind: "welcome" });
    expect(hello(4, one)).toMatchObject({ refusal: { reason: "term-given-twice" } });
  });

  it("L4: hello is followed by a report at once", () => {
    const world = CoreWorld.ready();
    world.reports.length = 0;
    world.ask((ticket) => ({ kind: "hello", ticket, hello: { term: 3, manager: "a" } }));
    expect(world.reports.at(-1)?.capacity.termObeyed).toBe(3);
  });
});

describe("the command id", () => {
  it("H2: the same command again gets the same answer and starts nothing again", () => {
    const world = CoreWorld.ready();
    const first = world.command(command(1, "start"));
    world.settle();
    expect(world.command(command(1, "start"))).toEqual(first);
    expect(world.pending).toEqual([]);
  });

  it("H2: a successor may repeat it under its own term", () => {
    const world = CoreWorld.ready();
    const first = world.command(command(1, "start", { term: 1 }));
    expect(world.command(command(1, "start", { term: 2 }))).toEqual(first);
  });

  it("H2: the same id with another content is a conflict and changes nothing", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    const before = new Map(world.disk);
    expect(world.command(command(1, "start", { vm: 2 }))).toMatchObject({
      refusal: { kind: "conflict", reason: "command-id-taken", field: "id" },
    });
    expect(world.disk).toEqual(before);
  });

  it("H2: answers survive the process", () => {
    const world = CoreWorld.ready();
    const answer = world.command(command(1, "stop", { vm: 7 }));
    expect(answer).toMatchObject({ refusal: { kind: "item-not-found" } });
    world.crash();
    expect(world.command(command(1, "stop", { vm: 7 }))).toEqual(answer);
  });

  it("S2: beyond the bound the oldest answers are forgotten, on disk as well", () => {
    const world = CoreWorld.ready({ answersMax: 16 });
    for (let id = 1; id <= 40; id += 1) world.command(command(id, "stop", { vm: 7 }));
    expect(world.state.answers.size).toBe(16);
    expect([...world.disk.keys()].filter((key) => key.startsWith("answer/"))).toHaveLength(16);
    world.crash();
    expect([...world.state.answers.keys()]).toContain(command(40, "stop").id);
  });
});

describe("start", () => {
  it("is stored as an intention before it is handed to the hypervisor, and answered at once", () => {
    const world = CoreWorld.ready();
    expect(world.command(command(1, "start"))).toMatchObject({ outcome: { state: "starting", attempt: 1 } });
    expect(JSON.parse(world.disk.get(`vm/${vmId(1)}`) ?? "{}")).toMatchObject({ state: "starting", tries: 1 });
    expect(world.pending).toMatchObject([{ kind: "start", plan: { attempt: 1 } }]);
    world.carryOut();
    expect(world.told).toMatchObject([{ vm: vmId(1), attempt: 1, state: "running", sequence: 1 }]);
  });

  it("H5: a repeat under another id tells how the attempt stands", () => {
    const world = running();
    expect(world.command(command(1, "start"))).toMatchObject({ outcome: { state: "running" } });
    expect(world.pending).toEqual([]);
  });

  it("H5: an older attempt than the one known is void", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start", { attempt: 3 }));
    expect(world.command(command(2, "start", { attempt: 2 }))).toMatchObject({
      outcome: { state: "void", attempt: 2 },
    });
  });

  it("P1: another attempt is refused while an earlier one has a domain here", () => {
    expect(running().command(command(1, "start", { attempt: 2 }))).toMatchObject({
      refusal: { kind: "conflict", reason: "attempt-live", field: "attempt" },
    });
  });

  it("starts a stopped VM again, by the same attempt and the same domain", () => {
    const world = running();
    world.command(command(1, "stop"));
    world.settle();
    expect(world.command(command(2, "start"))).toMatchObject({ outcome: { state: "starting" } });
    world.settle();
    expect(world.domains.get(vmId(1))?.state).toBe("running");
    expect(world.beginnings.get(`${vmId(1)}/1`)).toBe(1);
  });

  it("H4: without room it is busy, names what lacks, and is void for ever", () => {
    const world = CoreWorld.ready();
    const wish = { subject: subject({ size: { memoryMiB: 9_000 } }) };
    expect(world.command(command(1, "start", wish))).toMatchObject({
      refusal: { kind: "resource-constraint", reason: "no-capacity", field: "subject.spec.memoryMiB" },
    });
    world.crash();
    expect(world.command(command(2, "start"))).toMatchObject({ outcome: { state: "void" } });
    expect(world.beginnings.size).toBe(0);
  });

  it("H4: VMs being started, stopped ones, what is reserved and foreign domains all count", () => {
    const world = CoreWorld.ready({ reserved: { vcpus: 2, memoryMiB: 0, diskGiB: 0, gpus: 0 } });
    world.domains.set("foreign", { state: "running" });
    world.survey();
    world.command(command(1, "start", { vm: 1, subject: subject({ size: { vcpus: 2 } }) }));
    world.settle();
    world.command(command(2, "stop", { vm: 1 }));
    world.settle();
    world.command(command(3, "start", { vm: 2, subject: subject({ size: { vcpus: 2 } }) }));
    const last = (id: number, vcpus: number) =>
      world.command(command(id, "start", { vm: id, subject: subject({ size: { vcpus } }) }));
    expect(last(4, 2)).toMatchObject({
      refusal: { reason: "no-capacity", message: expect.stringContaining("has 1 vCPUs") },
    });
    expect(last(5, 1)).toMatchObject({ outcome: { state: "starting" } });
  });

  it("H4: P2: promises vCPUs more than once as far as its admin allows, and memory only where that is said", () => {
    const wish = (vm: number, size: object) => ({ vm, subject: subject({ size: { memoryMiB: 1_024, ...size } }) });
    const world = CoreWorld.ready({ overcommitMax: { vcpus: 2, memory: 1 } });
    expect(world.command(command(1, "start", wish(1, { vcpus: 8 })))).toMatchObject({ outcome: { state: "starting" } });
    expect(world.command(command(2, "start", wish(2, { vcpus: 8 })))).toMatchObject({ outcome: { state: "starting" } });
    expect(world.command(command(3, "start", wish(3, { vcpus: 1 })))).toMatchObject({
      refusal: { reason: "no-capacity" },
    });
    expect(world.command(command(4, "start", wish(4, { vcpus: 0, memoryMiB: 8_192 })))).toMatchObject({
      refusal: { reason: "no-capacity", field: "subject.spec.memoryMiB" },
    });
  });

  it("H4: while the hypervisor does not answer no new start is taken; a stopped VM's start is to be tried again", () => {
    const world = running();
    world.command(command(1, "stop"));
    world.settle();
    world.take({ kind: "hypervisor-down", reason: "no answer" });
    expect(world.command(command(2, "start", { vm: 2 }))).toMatchObject({
      refusal: { kind: "resource-constraint", reason: "hypervisor-unavailable" },
    });
    expect(world.command(command(3, "start"))).toMatchObject({ refusal: { kind: "unavailable" } });
    world.take({ kind: "hypervisor-up" });
    world.survey();
    expect(world.command(command(3, "start"))).toMatchObject({ outcome: { state: "starting" } });
    expect(world.command(command(4, "start", { vm: 2 }))).toMatchObject({ outcome: { state: "void" } });
  });

  it("a start the hypervisor refuses has failed, with the reason, and stays failed", () => {
    const world = CoreWorld.ready();
    world.domains.set(vmId(1), { state: "running", plan: { vm: vmId(1), attempt: 7, subject: subject() } });
    world.command(command(1, "start"));
    world.carryOut();
    expect(world.told.at(-1)).toMatchObject({ state: "failed", reason: "a twin" });
    expect(world.command(command(2, "start"))).toMatchObject({ outcome: { state: "failed", reason: "a twin" } });
  });

  it("S2: no more attempts are remembered than the bound allows; known ones still get their answers", () => {
    const world = CoreWorld.ready({ attemptsMax: 2 });
    world.command(command(1, "void", { vm: 1 }));
    world.command(command(2, "void", { vm: 2 }));
    for (const action of ["start", "void", "delete"] as const)
      expect(world.command(command(3 + action.length, action, { vm: 3 })), action).toMatchObject({
        refusal: { kind: "resource-constraint", reason: "journal-full" },
      });
    expect(world.command(command(20, "start", { vm: 1, attempt: 2 }))).toMatchObject({
      outcome: { state: "starting" },
    });
    world.command(command(21, "settle", { vm: 2 }));
    expect(world.command(command(22, "start", { vm: 3 }))).toMatchObject({ outcome: { state: "starting" } });
  });
});

describe("void", () => {
  it("H5: before its start it leaves a tombstone that outlives the process", () => {
    const world = CoreWorld.ready();
    expect(world.command(command(1, "void", { attempt: 2 }))).toMatchObject({ outcome: { state: "void", attempt: 2 } });
    world.crash();
    expect(world.command(command(2, "start", { attempt: 2 }))).toMatchObject({ outcome: { state: "void" } });
    expect(world.command(command(3, "start", { attempt: 3 }))).toMatchObject({ outcome: { state: "starting" } });
  });

  it("after its start it tells the truth", () => {
    expect(running().command(command(1, "void"))).toMatchObject({ outcome: { state: "running" } });
  });

  it("H5: of a later attempt leaves the live one alone, and is kept when that one ends and is settled", () => {
    const world = running();
    expect(world.command(command(1, "void", { attempt: 2 }))).toMatchObject({ outcome: { state: "void", attempt: 2 } });
    expect(world.domains.get(vmId(1))?.state).toBe("running");
    world.command(command(2, "delete"));
    world.settle();
    world.command(command(3, "settle"));
    world.crash();
    expect(world.command(command(4, "start", { attempt: 2 }))).toMatchObject({ outcome: { state: "void" } });
  });
});

describe("delete and settle", () => {
  it("delete removes the domain and tells gone; again is gone", () => {
    const world = running();
    expect(world.command(command(1, "delete"))).toMatchObject({ outcome: { state: "running" } });
    world.settle();
    expect(world.domains.size).toBe(0);
    expect(world.told.at(-1)).toMatchObject({ state: "gone" });
    expect(world.command(command(2, "delete"))).toMatchObject({ outcome: { state: "gone" } });
  });

  it("H5: delete of an attempt never seen is void, and a late start of it never starts", () => {
    const world = CoreWorld.ready();
    expect(world.command(command(1, "delete"))).toMatchObject({ outcome: { state: "void" } });
    expect(world.command(command(2, "start"))).toMatchObject({ outcome: { state: "void" } });
  });

  it("delete while the start is under way ends without a domain", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.command(command(2, "delete"));
    world.settle();
    expect(world.domains.size).toBe(0);
    expect(world.state.attempts.get(vmId(1))).toMatchObject({ state: "gone" });
  });

  it("two deletions at once leave nothing to do", () => {
    const world = running();
    world.command(command(1, "delete"));
    world.command(command(2, "delete"));
    world.settle();
    expect(world.state.attempts.get(vmId(1))).toEqual({
      vm: vmId(1),
      attempt: 1,
      state: "gone",
      subject: subject(),
      machineBoot: "boot-1",
    });
  });

  it("delete is carried out after the process ended before it could be", () => {
    const world = running();
    world.command(command(1, "delete"));
    world.crash();
    world.settle();
    expect(world.domains.size).toBe(0);
    expect(world.told.at(-1)).toMatchObject({ state: "gone" });
  });

  it("settle forgets what is over, and nothing that lives", () => {
    const world = running();
    expect(world.command(command(1, "settle"))).toMatchObject({ outcome: { state: "running" } });
    expect(world.state.attempts.size).toBe(1);
    world.command(command(2, "delete"));
    world.settle();
    expect(world.command(command(3, "settle"))).toMatchObject({ outcome: { state: "gone" } });
    expect(world.state.attempts.size).toBe(0);
    expect([...world.disk.keys()].some((key) => key.startsWith("vm/"))).toBe(false);
    expect(world.command(command(4, "settle"))).toMatchObject({ outcome: { state: "gone" } });
  });
});

describe("stop, suspend, resume, reboot", () => {
  it("change the state, and tell it", () => {
    const world = running();
    for (const [id, action, state] of [
      [1, "suspend", "paused"],
      [2, "resume", "running"],
      [3, "stop", "stopped"],
    ] as const) {
      world.command(command(id, action));
      world.settle();
      expect(world.told.at(-1)).toMatchObject({ state });
    }
  });

  it.each(["stop", "suspend", "resume", "reboot"] as const)("%s of a VM that is not here: item-not-found", (action) => {
    const world = running();
    expect(world.command(command(1, action, { vm: 5 }))).toMatchObject({
      refusal: { kind: "item-not-found", reason: "unknown-vm", field: "vm" },
    });
    expect(world.command(command(2, action, { attempt: 2 }))).toMatchObject({ refusal: { kind: "item-not-found" } });
    expect(world.state.attempts.size).toBe(1);
  });

  it("what is not possible in a state is refused with what to do", () => {
    const world = running();
    world.command(command(1, "stop"));
    world.settle();
    for (const [id, action] of [
      [2, "suspend"],
      [3, "resume"],
      [4, "reboot"],
    ] as const)
      expect(world.command(command(id, action))).toMatchObject({
        refusal: { kind: "conflict", reason: "wrong-state", message: expect.stringContaining("start it first") },
      });
    expect(world.command(command(5, "stop"))).toMatchObject({ outcome: { state: "stopped" } });
  });

  it("an order during the start waits for it", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.command(command(2, "suspend"));
    expect(world.pending).toHaveLength(1);
    world.settle();
    expect(world.domains.get(vmId(1))?.state).toBe("paused");
  });

  it("nothing else is taken while a VM is being deleted", () => {
    const world = running();
    world.command(command(1, "delete"));
    expect(world.command(command(2, "stop"))).toMatchObject({ refusal: { reason: "being-deleted" } });
  });

  it("S2: no more orders are handed out at a time than the bound allows; the others follow", () => {
    const world = CoreWorld.ready({ jobsMax: 2 });
    for (let vm = 1; vm <= 5; vm += 1) world.command(command(vm, "start", { vm }));
    expect(world.pending).toHaveLength(2);
    world.settle();
    expect(world.domains.size).toBe(5);
  });
});
