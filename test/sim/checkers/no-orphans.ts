/**
 * B7: what was burst is not burst again; and no orphans: no lent VM outlives its lease and grace where its host can be
 * reached, and in the end every lease has its twin at the other side.
 */
import type { BorrowRecord } from "@muster/broker";
import { isFinal } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { allIn, borrowIn, lendIn, vmIn } from "../core-words.ts";
import type { Site } from "../site.ts";
import { GRACE_MS } from "../swarm.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";
import { MENDING_MS } from "./one-place.ts";

/** Younger than this, a lease of the end may still be on its way to the other side. */
const SETTLED_MS = 10_000;

export function noOrphans(world: World): Checker {
  return {
    onCommit(lead, kept) {
      for (const { key, after } of kept) {
        if (!key.startsWith("borrow/") || after === undefined) continue;
        const { vm } = after as BorrowRecord;
        const origin = vmIn(lead.site.store, vm)?.origin.kind;
        claim(origin !== "peer", "B7", () => `${vm} was lent to ${lead.site.domain}, which bursts it on`, vm);
      }
    },
    onPulse() {
      for (const site of world.sites) checkLent(world, site);
    },
    atEnd() {
      for (const site of world.sites) checkTwins(world, site);
    },
  };
}

function checkLent(world: World, site: Site): void {
  for (const host of site.hosts.values()) {
    if (world.health.wellForMs(host) < MENDING_MS) continue;
    for (const [vm, { plan, state }] of host.machine.domains) {
      const { lease, peer } = plan?.subject ?? {};
      if (lease === undefined || peer === undefined || state === "stopped") continue;
      const nowMs = site.bound?.nowMs() ?? 0;
      const endMs = lendIn(site.store, peer, lease)?.expiresAtMs ?? 0;
      const orphan = nowMs > endMs + GRACE_MS + MENDING_MS;
      claim(!orphan, "B7", () => `${vm} of ${peer} outlives lease ${lease} and its grace on ${host.address}`, vm);
    }
  }
}

function checkTwins(world: World, site: Site): void {
  const nowMs = site.bound?.nowMs() ?? 0;
  for (const { id, peer, stage, changedAtMs } of allIn(site.store, "lend")) {
    if (stage !== "leased" || nowMs < changedAtMs + SETTLED_MS) continue;
    const borrower = world.siteOf(peer);
    const twin = borrower === undefined ? undefined : borrowIn(borrower.store, site.domain, id);
    claim(twin?.stage === "leased", "B7", () => `lease ${id} at ${site.domain} is ${twin?.stage} at ${peer}`, id);
  }
  for (const { id, peer, vm, stage, changedAtMs } of allIn(site.store, "borrow")) {
    if (stage !== "leased" || nowMs < changedAtMs + SETTLED_MS) continue;
    const lender = world.siteOf(peer);
    const twin = lender === undefined ? undefined : lendIn(lender.store, site.domain, id);
    claim(twin?.stage === "leased", "B7", () => `lease ${id} of ${site.domain} is ${twin?.stage} at ${peer}`, id);
    const there = lender === undefined ? undefined : vmIn(lender.store, vm);
    claim(there !== undefined && !isFinal(there.phase), "B7", () => `lease ${id} at ${peer} has no VM`, id);
  }
}
