/**
 * P3: every accepted request is kept until it ended and long after, and once faults have stopped it ends, runs as wanted,
 * or waits; nothing runs that no record asks for.
 */
import type { VmRecord } from "@muster/cluster-manager";
import { isFinal } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { requestIn, vmIn } from "../core-words.ts";
import { POLICY_TIMING } from "../policy.ts";
import type { Site } from "../site.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

/** Longest time for which a peer is asked before the search goes on elsewhere. */
const ASKING_MS = 30_000;

export function noneForgotten(world: World): Checker {
  return {
    onCommit(lead, kept) {
      for (const { key, before, after } of kept) {
        if (after !== undefined || before === undefined || !key.startsWith("vm/")) continue;
        const { phase, changedAtMs } = before as VmRecord;
        const old = lead.nowMs() >= changedAtMs + POLICY_TIMING.rememberMs;
        claim(isFinal(phase) && old, "P3", () => `${key} is forgotten while it is ${phase}`, key.slice(3));
      }
    },
    atEnd() {
      for (const { site, id, vms, refused } of world.users.wishes) {
        claim(vms !== undefined || refused, "P3", () => `${id} was never answered`, id);
        if (vms === undefined) continue;
        claim(requestIn(site.store, id) !== undefined, "P3", () => `${id} was accepted and is gone`, id);
        for (const vm of vms) checkVm(world, site, vm);
      }
      for (const site of world.sites) checkDomains(site);
    },
  };
}

function checkVm(world: World, site: Site, id: string): void {
  const record = vmIn(site.store, id);
  claim(record !== undefined, "P3", () => `VM ${id} was accepted and is gone`, id);
  const { phase, place, wanted } = record;
  if (isFinal(phase) || phase === "queued") return;
  const lender = place.kind === "peer" ? world.siteOf(place.peer) : undefined;
  const there = lender === undefined ? undefined : vmIn(lender.store, id);
  // What waits or fails at its lender waits there, and is explained (P4).
  if (there !== undefined && there.phase === "queued") return;
  // An exchange that has just begun: what it comes to would be seen a moment later.
  const sinceMs = (site.bound?.nowMs() ?? 0) - record.changedAtMs;
  if (place.kind === "peer" && there === undefined && sinceMs < ASKING_MS) return;
  claim(phase === wanted, "P3", () => `VM ${id} is ${phase}, wanted ${wanted}: ${record.reason ?? ""}`, id);
  const at = place.kind === "host" ? { site, host: place.host } : hostAt(lender, there);
  const domain = at?.site.hosts.get(at.host)?.machine.domains.get(id);
  claim(
    domain?.state === phase,
    "P3",
    () => `VM ${id} is ${phase} by its record, ${domain?.state ?? "not there"} in truth`,
    id,
  );
}

function hostAt(lender: Site | undefined, there: VmRecord | undefined): { site: Site; host: string } | undefined {
  if (lender === undefined || there?.place.kind !== "host") return undefined;
  return { site: lender, host: there.place.host };
}

function checkDomains(site: Site): void {
  for (const host of site.hosts.values())
    for (const [vm, { plan, state }] of host.machine.domains) {
      if (plan === undefined) continue;
      const record = vmIn(site.store, vm);
      // What is left of it goes when its peer has confirmed that it has the VM, which may still wait for room there.
      if (state === "stopped" && record?.place.kind === "peer" && record.phase === "placing") continue;
      const own = record?.place.kind === "host" && record.place.host === host.name && record.attempt === plan.attempt;
      claim(own && !isFinal(record.phase), "P3", () => `${vm} stands on ${host.address} by no record's wish`, vm);
    }
}
