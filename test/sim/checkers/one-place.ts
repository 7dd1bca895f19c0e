/**
 * P1: no VM runs in two places, across the hypervisors of all sites.
 *
 * One case is counted and not refused. A host ends the VM of a lease that is over by itself, but not while its host manager
 * or its hypervisor does not act; its borrower counts the lease as over after its end, grace and margin, and may start the
 * VM anew. Such a copy is excused only if the lease's end and grace are past, its borrower was told by nobody that it is
 * gone, and that host could not act for long enough to end it.
 */
import type { Checker } from "../checker.ts";
import { allIn, vmIn } from "../core-words.ts";
import type { HostNode } from "../host-node.ts";
import { GRACE_MS } from "../swarm.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";
import { ENDING_MS } from "./ended-by-hosts.ts";

/** Time in which a lender that reaches its host again has ended what is over: the longest pause between two orders. */
export const MENDING_MS = 25_000;

export function onePlace(world: World): Checker {
  const places = new Map<string, Set<HostNode>>();
  const check = (vm: string, hosts: ReadonlySet<HostNode>): void => {
    if (hosts.size < 2) return;
    const kept = [...hosts].filter((host) => !isOverstay(world, host, vm));
    const names = [...hosts].map(({ address }) => address).join(" and ");
    claim(kept.length < 2, "P1", () => `${vm} runs on ${names}`, vm);
    world.figures.overstayed += 1;
  };
  return {
    onDomain(host, { kind, vm, domain }) {
      if (domain.plan === undefined) return;
      const hosts = places.get(vm) ?? new Set<HostNode>();
      places.set(vm, hosts);
      // What a move has paused at its source, or has only prepared, is no place: it runs nowhere by itself.
      if (domain.moving?.role === "held" || domain.moving?.role === "incoming") {
        hosts.delete(host);
        return;
      }
      if (kind === "removed" || domain.state === "stopped") hosts.delete(host);
      else check(vm, hosts.add(host));
    },
  };
}

function isOverstay(world: World, host: HostNode, vm: string): boolean {
  const { store, domain } = host.site;
  const lent = vmIn(store, vm);
  if (lent?.origin.kind !== "peer") return false;
  const borrower = world.siteOf(lent.origin.peer);
  const lease = [...allIn(store, "lend")].find(({ id }) => lent.origin.kind === "peer" && id === lent.origin.exchange);
  if (borrower === undefined || lease === undefined || lease.stage === "released" || lease.stage === "voided")
    return false;
  const exchange = [...allIn(borrower.store, "borrow")].find(({ id, peer }) => id === lease.id && peer === domain);
  const nowMs = borrower.bound?.nowMs() ?? 0;
  if (exchange === undefined || (exchange.stage === "closed" && (exchange.overAtMs ?? 0) > nowMs)) return false;
  const lenderMs = host.site.bound?.nowMs() ?? 0;
  return lenderMs >= lease.expiresAtMs + GRACE_MS && world.health.ableForMs(host) < ENDING_MS;
}
