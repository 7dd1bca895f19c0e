/** The room of open holds, pencilled in at hosts: promised to a peer, taken by nobody else (P2). */
import type { HeldCapacity } from "@muster/broker";
import type { Round } from "../core/round.ts";
import type { NetworkRecord } from "../networks/network-record.ts";
import { demandOf } from "../scheduler/demand.ts";
import { barredFor } from "./class-shares.ts";

/**
 * Pencils the room of every open hold in at a host, so that nothing else is promised it (P2). One at a host that cannot be
 * used now goes to another that has the room; where none has it, it stays: the host may be back in a moment.
 */
export function pencilIn(round: Round): void {
  const { set } = round;
  const open = new Map([...round.lender.held()].map((hold) => [`${hold.peer}/${hold.id}`, hold]));
  for (const [key, host] of set.pencils) {
    if (open.has(key)) continue;
    set.pencils.delete(key);
    set.hosts.get(host)?.unhold(key);
    set.wake();
  }
  set.holdsWithoutRoom = false;
  for (const [key, hold] of open) {
    const before = set.pencils.get(key);
    if (before !== undefined && isInService(round, before)) continue;
    const host = roomForHold(round, hold);
    if (host === undefined) {
      set.holdsWithoutRoom ||= before === undefined;
      continue;
    }
    if (before !== undefined) set.hosts.get(before)?.unhold(key);
    set.pencils.set(key, host);
    set.hosts.get(host)?.hold(key, hold.spec);
  }
}

function roomForHold(round: Round, hold: HeldCapacity): string | undefined {
  const { set } = round;
  const imageDigest = set.images.find(hold.spec.image)?.digest ?? hold.image?.digest;
  const networks = imageDigest === undefined || hold.tunnel !== undefined ? [] : defaultNetwork(set);
  const wish = {
    spec: hold.spec,
    project: "",
    origin: { kind: "peer", peer: hold.peer, exchange: hold.id } as const,
    imageDigest,
    tunnel: hold.tunnel,
  };
  const barred = barredFor(round, set.peers.find(hold.peer, round.turn.nowMs), hold.spec);
  const decision = set.rankings.decide({ ...demandOf(wish, networks, round.policy.images), barred }, set.hosts);
  return decision.kind === "none" ? undefined : decision.host;
}

/** Where VMs of peers come to be. */
function defaultNetwork({ networks: { byDefault } }: Round["set"]): readonly NetworkRecord[] {
  return byDefault === undefined ? [] : [byDefault];
}

function isInService(round: Round, name: string): boolean {
  const host = round.set.hosts.get(name);
  return host !== undefined && host.option().obstacle === undefined;
}
