/**
 * A peer's share of each class of hosts: what it has on hosts of the class, placed and held, stays at or below that part of
 * their capacity. Hosts of a class that is used up are barred for its VMs, wherever those are placed, again or anew.
 */
import type { Peering } from "@muster/broker";
import {
  add,
  type ClassShares,
  NO_RESOURCES,
  RESOURCE_KINDS,
  RESOURCE_WORDS,
  type Resources,
  resourcesOf,
  subtract,
  type VmSpec,
} from "@muster/protocol";
import type { Round } from "../core/round.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import type { Reason } from "../scheduler/host-option.ts";

/** Label that a class without `=` names a value of. */
const CLASS_LABEL = "class";

export type ClassUse = {
  readonly name: string;
  readonly share: number;
  readonly hosts: readonly HostEntry[];
  readonly limit: Resources;
  readonly taken: Resources;
};

/** Each class that the peer's policy names, with what the peer has of it; `besides`: a VM that is not counted. */
export function classUses({ set }: Pick<Round, "set">, { domain, lend }: Peering, besides?: string): ClassUse[] {
  const shares: ClassShares = lend.classes ?? {};
  return Object.entries(shares).map(([name, share]) => {
    const hosts = [...set.hosts.values()].filter((host) => isOf(host, name));
    let total = NO_RESOURCES;
    let taken = NO_RESOURCES;
    for (const host of hosts) {
      total = add(total, host.option().size);
      for (const [vm, resources] of host.placed) {
        const origin = vm === besides ? undefined : set.vms.get(vm)?.record.origin;
        if (origin?.kind === "peer" && origin.peer === domain) taken = add(taken, resources);
      }
      for (const [hold, resources] of host.held) if (hold.startsWith(`${domain}/`)) taken = add(taken, resources);
    }
    return { name, share, hosts, limit: partOf(total, share), taken };
  });
}

/** Hosts that may not take the VM of this peer, and why. */
export function barredFor(
  round: Pick<Round, "set">,
  peering: Peering | undefined,
  spec: VmSpec,
  besides?: string,
): ReadonlyMap<string, Reason> | undefined {
  if (peering?.lend.classes === undefined) return undefined;
  const wanted = resourcesOf(spec);
  const barred = new Map<string, Reason>();
  for (const { name, hosts, limit, taken } of classUses(round, peering, besides)) {
    const over = RESOURCE_KINDS.find((kind) => wanted[kind] > 0 && taken[kind] + wanted[kind] > limit[kind]);
    if (over === undefined) continue;
    const message = `its site may have ${limit[over]} ${RESOURCE_WORDS[over]} of class ${name}, and has ${taken[over]}`;
    for (const host of hosts) barred.set(host.name, { reason: "class-share", message });
  }
  return barred.size === 0 ? undefined : barred;
}

/** What is left of the class, by the label's value, for the peer; `undefined` where the policy does not limit it. */
export function classLeft(round: Pick<Round, "set">, peering: Peering, name: string): Resources | undefined {
  const use = classUses(round, peering).find((one) => one.name === name);
  return use === undefined ? undefined : subtract(use.limit, use.taken);
}

/** In one line, for those who ask why. */
export function classLine(uses: readonly ClassUse[]): string {
  const parts = uses.map(({ name, share, limit, taken, hosts }) => {
    if (hosts.length === 0) return `no host is of class ${name}`;
    const kinds = RESOURCE_KINDS.filter((kind) => kind !== "diskGiB" && limit[kind] > 0);
    const figures = kinds.map((kind) => `${taken[kind]} of ${limit[kind]} ${RESOURCE_WORDS[kind]}`).join(", ");
    const percent = Math.round(share * 1_000) / 10;
    return figures === "" ? `nothing is lent of class ${name}` : `of class ${name} (${percent} %) ${figures} are taken`;
  });
  return parts.join("; ");
}

function isOf({ capacity }: HostEntry, name: string): boolean {
  const [label = "", value] = name.split("=");
  return value === undefined ? capacity?.labels[CLASS_LABEL] === label : capacity?.labels[label] === value;
}

function partOf(total: Resources, share: number): Resources {
  // A share of 0.29 of 100 is 29, not the 28.999… of binary fractions.
  const parts = RESOURCE_KINDS.map((kind) => [kind, Math.floor(total[kind] * share + 1e-9)] as const);
  return { ...NO_RESOURCES, ...Object.fromEntries(parts) };
}
