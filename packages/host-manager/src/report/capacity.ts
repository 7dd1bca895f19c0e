import {
  add,
  type Capacity,
  lacking,
  NO_RESOURCES,
  type Resources,
  resourcesOf,
  subtract,
  sum,
} from "@muster/protocol";
import { type AttemptRecord, type HostState, isLive } from "../core/state.ts";

type Stock = Pick<HostState, "policy" | "hypervisor" | "foreign" | "attempts">;

/** The smallest VM there can be: a host without room for it is full. */
const SMALLEST: Resources = { vcpus: 1, memoryMiB: 16, diskGiB: 1, gpus: 0 };

/** What the machine has: as the hypervisor reports it, where the admin does not say otherwise. */
export function totalOf({ policy, hypervisor }: Pick<Stock, "policy" | "hypervisor">): Resources {
  return { ...(hypervisor.facts?.total ?? NO_RESOURCES), ...policy.total };
}

/** What is not on offer: the machine's own share and what foreign domains take (H3). */
export function reservedOf({ policy, foreign }: Pick<Stock, "policy" | "foreign">): Resources {
  return add(policy.reserved, foreign.used);
}

/** What our VMs take. A stopped one keeps its place: it may be started again at any time. */
export function usedOf(attempts: Iterable<AttemptRecord>): Resources {
  const amounts: Resources[] = [];
  for (const record of attempts) {
    if (isLive(record) && record.subject !== undefined) amounts.push(resourcesOf(record.subject.spec));
  }
  return sum(amounts);
}

/** What a new VM may take (H4): of what the machine has, times what its admin lets be promised. Derived, never stored. */
export function freeOf(stock: Stock): Resources {
  return subtract(promisableOf(stock), add(reservedOf(stock), usedOf(stock.attempts.values())));
}

function promisableOf(stock: Pick<Stock, "policy" | "hypervisor">): Resources {
  const total = totalOf(stock);
  const { vcpus, memory } = stock.policy.overcommitMax;
  return { ...total, vcpus: Math.floor(total.vcpus * vcpus), memoryMiB: Math.floor(total.memoryMiB * memory) };
}

/** The host as its leader hears of it. */
export function capacityOf(state: HostState, sequence: number): Capacity {
  const live = Array.from(state.attempts.values()).filter(isLive);
  const free = freeOf(state);
  return {
    bootId: state.bootId,
    sequence,
    heartbeatMs: state.policy.heartbeatMs,
    termObeyed: state.head.term,
    total: totalOf(state),
    reserved: reservedOf(state),
    used: usedOf(live),
    vms: live.length,
    foreignVms: state.foreign.vms,
    condition: conditionOf(state, free),
    driver: state.hypervisor.facts?.driver ?? "unknown",
    hypervisor: state.hypervisor.facts?.hypervisor ?? "not heard yet",
    agent: state.policy.agent,
    ...(state.hypervisor.facts?.moves === true ? { moves: true } : {}),
    ...networksOf(state),
    labels: { ...state.hypervisor.facts?.labels, ...state.policy.labels },
    images: imagesOf(state),
    inventoryDigest: state.head.digest,
  };
}

function networksOf({ hypervisor }: HostState): Pick<Capacity, "networks" | "underlay"> {
  const { networks, underlay } = hypervisor.facts ?? {};
  return { ...(networks === undefined ? {} : { networks }), ...(underlay === undefined ? {} : { underlay }) };
}

/** Most images that are told: the newest of those on the machine, after those that its admin names. */
const IMAGES_TOLD_MAX = 200;

function imagesOf({ policy, hypervisor }: Pick<Stock, "policy" | "hypervisor">): string[] {
  const found = [...(hypervisor.facts?.images ?? [])].reverse();
  return [...new Set([...policy.images, ...found])].slice(0, IMAGES_TOLD_MAX);
}

function conditionOf({ hypervisor }: HostState, free: Resources): Capacity["condition"] {
  if (hypervisor.kind !== "ready") return "degraded";
  return lacking(free, SMALLEST) === undefined ? "accepting" : "full";
}

/** The `<show/>` of a condition; none means accepting. */
export function showOf(condition: Capacity["condition"]): "away" | "dnd" | "xa" | undefined {
  switch (condition) {
    case "accepting":
      return undefined;
    case "degraded":
      return "away";
    case "full":
      return "dnd";
    case "draining":
      return "xa";
  }
}

/** The line that people see beside the host in their roster: `12/32 vCPU free, 3 VMs, eu-south`. */
export function statusLine(capacity: Capacity): string {
  const free = subtract(capacity.total, add(capacity.reserved, capacity.used));
  const parts = [
    `${free.vcpus}/${capacity.total.vcpus} vCPU free`,
    `${capacity.vms} ${capacity.vms === 1 ? "VM" : "VMs"}`,
  ];
  const place = capacity.labels.region ?? capacity.labels.zone;
  if (place !== undefined) parts.push(place);
  if (capacity.condition === "degraded") parts.push("hypervisor does not answer");
  return parts.join(", ");
}
