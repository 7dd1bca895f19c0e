/**
 * P1 in moves: a guest goes on at its source only if it never ran at its destination, and leaves its source for good only
 * after it did. L3: no step goes out before the stage that allows it is stored. P3: every move ends, and leaves nothing.
 */
import type { VmRecord } from "@muster/cluster-manager";
import { isFinal, type Move, resourcesOf, subtract, sum } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { allIn, hostIn, vmIn } from "../core-words.ts";
import type { HostNode } from "../host-node.ts";
import type { Lead } from "../lead.ts";
import type { Site } from "../site.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

export function moves(world: World): Checker {
  /** Moves whose guest came to run at the destination, and where. */
  const ran = new Map<string, HostNode>();
  return {
    onDomain(host, { kind, vm, cause, command }) {
      if (cause === "move-finish" && kind === "state") ran.set(command, host);
      if (cause === "move-resume") {
        const there = ran.get(command);
        // Who was declared dead by an admin, truly, gives no word (P1); nor does a lease of which nothing can be left (B4).
        const dead = there !== undefined && hostIn(there.site.store, there.name)?.fenced === true;
        const over = there !== undefined && there.site !== host.site && isLeaseOver(host.site, vm);
        claim(
          there === undefined || dead || over,
          "P1",
          () => `${vm} goes on at ${host.address}, and ran at ${there?.address}`,
          vm,
        );
      }
      if (cause === "move-confirm" && command !== "")
        claim(ran.has(command), "P1", () => `${vm} is removed from ${host.address}, and never ran elsewhere`, vm);
    },
    onEffect(lead, effect) {
      if (effect.kind === "move") stageStored(lead, effect.host, effect.move);
    },
    onCommit(_lead, kept) {
      for (const { key, before, after } of kept) {
        if (!key.startsWith("vm/")) continue;
        const [was, is] = [(before as VmRecord | undefined)?.move, (after as VmRecord | undefined)?.move];
        if (is !== undefined && is.id !== was?.id) world.figures.movesBegun += 1;
        if (was === undefined || is !== undefined) continue;
        if (was.stage !== "confirming") world.figures.movesGivenUp += 1;
        else world.figures.moved += 1;
        if (was.stage === "confirming" && was.peer !== undefined) world.figures.movedBetween += 1;
      }
    },
    atEnd() {
      for (const site of world.sites) {
        for (const { id, move, leftover } of allIn(site.store, "vm")) {
          claim(
            move === undefined,
            "P3",
            () => `the move of ${id} from ${move?.from} to ${move?.to} never ends: ${move?.stage}`,
            id,
          );
          claim(leftover === undefined, "P3", () => `${leftover?.host} never cleans up after a move of ${id}`, id);
        }
        for (const host of site.hosts.values())
          for (const [vm, { moving }] of host.machine.domains)
            claim(moving === undefined, "P3", () => `${vm} is left ${moving?.role} on ${host.address}`, vm);
        checkRoom(site);
      }
    },
  };
}

/** Whether no exchange of the VM is open at its borrower. */
function isLeaseOver({ store }: Site, vm: string): boolean {
  return [...allIn(store, "borrow")].every((record) => record.vm !== vm || record.stage === "closed");
}

/** No room is kept for a move that is over: what is free is what no VM takes. */
function checkRoom(site: Site): void {
  const lead = site.bound;
  if (lead === undefined || [...allIn(site.store, "lend")].some(({ stage }) => stage === "held")) return;
  for (const { name, free, promisable } of lead.core.views.hosts(lead.nowMs())) {
    if (promisable === undefined) continue;
    const placed = lead.core.views
      .vms()
      .filter(({ phase, place }) => !isFinal(phase) && place.kind === "host" && place.host === name);
    // What is left of a VM that waits for room at a peer takes room until it runs there.
    const ids = new Set<string>(placed.map(({ id }) => id));
    if ([...(site.hosts.get(name)?.machine.domains.keys() ?? [])].some((vm) => !ids.has(vm))) continue;
    const taken = sum(placed.map(({ spec }) => resourcesOf(spec)));
    const left = subtract(promisable, taken);
    claim(free.vcpus === left.vcpus, "P3", () => `${left.vcpus - free.vcpus} vCPUs are kept on ${name} for nothing`);
  }
}

const STAGE_OF: Readonly<Partial<Record<Move["step"], readonly string[]>>> = {
  finish: ["finishing"],
  confirm: ["confirming"],
  resume: ["resuming"],
};

/** L3: a successor has to know that the guest may run there, or here again. A later stage may be stored by then. */
function stageStored({ site, term }: Lead, host: string, { step, vm, id }: Move): void {
  const needed = STAGE_OF[step];
  if (needed === undefined || site.store.term !== term) return;
  const record = vmIn(site.store, vm);
  // A lender keeps no stages: it hands on what its borrower, who does, asks for.
  if (record?.origin.kind === "peer") return;
  const stored = record?.move;
  const right = stored?.id === id && needed.includes(stored.stage);
  claim(right, "L3", () => `${host} is asked to ${step} ${vm}, stored ${stored?.stage}`, vm);
}
