/**
 * B4: no VM outlives its lease and grace, also when all managers of its lender stay dead: its host ends it by itself, as
 * soon as it can act at all. Nor does a host end one before the time that its leader granted.
 */
import type { LendRecord } from "@muster/broker";
import type { Checker } from "../checker.ts";
import { GRACE_MS } from "../swarm.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

/** Time in which a host that can act has ended what is over: hypervisor asked, order given, and tried once more. */
export const ENDING_MS = 12_000;

export function endedByHosts(world: World): Checker {
  /** By lease, when its grace is over, by the time of the run. */
  const ends = new Map<string, number>();
  return {
    onCommit(lead, kept) {
      for (const { key, after } of kept) {
        const lease = key.startsWith("lend/") ? (after as LendRecord | undefined) : undefined;
        if (lease?.stage !== "leased") continue;
        const leftMs = (lease.expiresAtMs + GRACE_MS - lead.nowMs()) / lead.site.rate;
        ends.set(lease.id, world.timeline.nowMs + leftMs);
      }
    },
    onHostEffect(host, effect) {
      if (effect.kind !== "act") return;
      const { vm, job } = effect;
      const stored = host.attemptStored(vm);
      if (stored?.subject?.lease !== job.command) return;
      // What was granted in an earlier boot of the machine counts as over.
      const own = stored.lease?.machineBoot === host.machineBoot;
      const endMs = own ? (stored.lease?.atMs ?? 0) : 0;
      claim(world.timeline.nowMs >= endMs, "H3", () => `${host.address} ends ${vm} before its lease does`, vm);
      world.figures.endedByHosts += 1;
    },
    onPulse() {
      for (const { hosts } of world.sites)
        for (const host of hosts.values()) {
          if (world.health.ableForMs(host) < ENDING_MS) continue;
          for (const [vm, { plan, state }] of host.machine.domains) {
            const lease = plan?.subject.lease;
            if (lease === undefined || state === "stopped") continue;
            const orphan = world.timeline.nowMs > (ends.get(lease) ?? 0) + ENDING_MS;
            claim(!orphan, "B4", () => `${vm} outlives lease ${lease} and its grace on ${host.address}`, vm);
          }
        }
    },
  };
}
