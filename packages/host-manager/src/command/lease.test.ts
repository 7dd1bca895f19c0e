import type { Command, CommandLease } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { CoreWorld } from "../testing/core-world.ts";
import { command, subject, uuid, vmId } from "../testing/fixture.ts";

const LEASE = uuid(7, 7);
const LEASE_MS = 60_000;

/** Counted from the last report of the host. */
function lease(world: CoreWorld, durationMs: number): CommandLease {
  return { bootId: world.state.bootId, report: world.state.timing.sequence, durationMs };
}

function start(world: CoreWorld, id: number, durationMs = LEASE_MS): Command {
  const lent = { ...subject(), lease: LEASE, peer: "beta.test" };
  return { ...command(id, "start", { subject: lent }), lease: lease(world, durationMs) };
}

function renew(world: CoreWorld, id: number, durationMs = LEASE_MS): Command {
  return { ...command(id, "renew"), lease: lease(world, durationMs) };
}

/** A world in which a lent VM runs, since a report that was just sent. */
function lent(): CoreWorld {
  const world = CoreWorld.ready();
  wait(world, world.policy.heartbeatMs);
  world.command(start(world, 1));
  world.carryOut();
  expect(stateOf(world)).toBe("running");
  return world;
}

function stateOf(world: CoreWorld): string | undefined {
  return world.domains.get(vmId(1))?.state;
}

/** Time passes, second by second, and whatever the host orders happens. */
function wait(world: CoreWorld, durationMs: number): void {
  const endMs = world.nowMs + durationMs;
  while (world.nowMs < endMs) {
    world.nowMs = Math.min(endMs, world.nowMs + 1_000);
    world.take({ kind: "tick" });
    while (world.pending.length > 0) world.carryOut();
  }
}

describe("the end of a lease at its host", () => {
  it("B4: the host stops a lent VM by itself when nobody renews its lease, keeps its domain, and says why", () => {
    const world = lent();
    wait(world, LEASE_MS - 1_000);
    expect(stateOf(world)).toBe("running");
    wait(world, 1_000);
    expect(stateOf(world)).toBe("stopped");
    expect(world.told.at(-1)).toMatchObject({
      vm: vmId(1),
      state: "stopped",
      reason: "its lease ended and nobody renewed it",
    });
  });

  it("B4: a paused VM ends with its lease too", () => {
    const world = lent();
    world.command(command(2, "suspend"));
    world.carryOut();
    wait(world, LEASE_MS);
    expect(stateOf(world)).toBe("stopped");
  });

  it("H3: what was not lent is left alone, however old it is", () => {
    const world = CoreWorld.ready();
    world.command(command(1, "start"));
    world.carryOut();
    wait(world, 100 * LEASE_MS);
    expect(stateOf(world)).toBe("running");
  });

  it("B4: a renewal counts anew, is stored before it is answered, and a shorter one takes nothing back", () => {
    const world = lent();
    wait(world, LEASE_MS / 2);
    const before = world.disk.get(`vm/${vmId(1)}`);
    expect(world.command(renew(world, 2))).toMatchObject({ kind: "outcome", outcome: { state: "running" } });
    expect(world.disk.get(`vm/${vmId(1)}`)).not.toBe(before);
    world.command(renew(world, 3, 1_000));
    wait(world, LEASE_MS - world.policy.heartbeatMs);
    expect(stateOf(world)).toBe("running");
    wait(world, world.policy.heartbeatMs);
    expect(stateOf(world)).toBe("stopped");
  });

  it("B4: the time counts from the report, so that a command that was long on its way grants no more", () => {
    const world = lent();
    const late = renew(world, 2, LEASE_MS);
    wait(world, LEASE_MS / 2);
    world.command(late);
    wait(world, LEASE_MS / 2);
    expect(stateOf(world)).toBe("stopped");
  });

  it("H2: a renewal that comes twice counts once, also with another rest of its time", () => {
    const world = lent();
    const first = world.command(renew(world, 2));
    const stored = world.disk.get(`vm/${vmId(1)}`);
    wait(world, 10_000);
    expect(world.command(renew(world, 2))).toEqual(first);
    expect(world.disk.get(`vm/${vmId(1)}`)).toBe(stored);
  });

  it("B4: a lease that counts from a report of another start of the host, or one forgotten, is to be said again", () => {
    const world = lent();
    const old = renew(world, 2);
    world.crash();
    const refused = { kind: "refused", refusal: { kind: "unavailable", reason: "report-unknown" } };
    expect(world.command(old)).toMatchObject(refused);
    expect(world.command({ ...renew(world, 2), lease: { ...lease(world, 1), report: 9_999 } })).toMatchObject(refused);
    expect(world.command(renew(world, 2))).toMatchObject({ kind: "outcome" });
  });

  it("B4: the time goes on while the host manager does not run", () => {
    const world = lent();
    world.nowMs += LEASE_MS;
    world.crash();
    while (world.pending.length > 0) world.carryOut();
    expect(stateOf(world)).toBe("stopped");
  });

  it("B4: a process that starts again within the lease lets the VM run on to the same end", () => {
    const world = lent();
    world.crash();
    wait(world, LEASE_MS / 2);
    expect(stateOf(world)).toBe("running");
    wait(world, LEASE_MS / 2);
    expect(stateOf(world)).toBe("stopped");
  });

  it("B4, P1: after another boot of the machine a lease counts as over, for its clock began anew", () => {
    const world = lent();
    world.machineBoot = "boot-2";
    world.crash();
    while (world.pending.length > 0) world.carryOut();
    expect(stateOf(world)).toBe("stopped");
    expect(world.command(start(world, 2))).toMatchObject({ kind: "outcome", outcome: { state: "starting" } });
    world.carryOut();
    expect(stateOf(world)).toBe("running");
  });

  it("B4, H5: a start that was not handed over before its lease ended never happens", () => {
    const world = CoreWorld.ready();
    wait(world, world.policy.heartbeatMs);
    world.take({ kind: "hypervisor-down", reason: "gone" });
    const other = CoreWorld.ready();
    other.command(start(other, 1));
    other.nowMs += LEASE_MS;
    other.crash();
    expect(other.pending).toEqual([]);
    expect(other.state.attempts.get(vmId(1))).toMatchObject({ state: "failed" });
    expect(world.command(start(world, 1))).toMatchObject({ refusal: { kind: "resource-constraint" } });
  });

  it("B4: a VM that was being started when its lease ended is stopped after that", () => {
    const world = CoreWorld.ready();
    world.command(start(world, 1));
    world.nowMs += LEASE_MS;
    world.take({ kind: "tick" });
    world.carryOut();
    expect(stateOf(world)).toBe("running");
    while (world.pending.length > 0) world.carryOut();
    expect(stateOf(world)).toBe("stopped");
  });

  it("B4: an end that was not handed over yet is off again when the lease is renewed after all", () => {
    const world = lent();
    world.take({ kind: "hypervisor-down", reason: "gone" });
    world.nowMs += LEASE_MS;
    world.take({ kind: "tick" });
    expect(world.state.attempts.get(vmId(1))?.intent?.action).toBe("stop");
    world.command(renew(world, 2));
    world.take({ kind: "hypervisor-up" });
    world.survey();
    while (world.pending.length > 0) world.carryOut();
    expect(stateOf(world)).toBe("running");
  });

  it("B4: a hypervisor that refuses the end is asked again after the next survey, not at once", () => {
    const world = lent();
    world.nowMs += LEASE_MS;
    world.take({ kind: "tick" });
    const [order] = world.pending.splice(0);
    if (order === undefined) throw new Error("the end was ordered");
    world.take({ kind: "acted", vm: order.vm, job: order.job, outcome: { kind: "refused", reason: "no" } });
    expect(world.pending).toEqual([]);
    // The survey under way began before that, and says nothing of it.
    world.survey();
    expect(world.pending).toEqual([]);
    world.survey();
    while (world.pending.length > 0) world.carryOut();
    expect(stateOf(world)).toBe("stopped");
  });
});
