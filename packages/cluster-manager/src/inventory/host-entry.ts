/**
 * One host in the working set: its record, what it last said of itself, and what our records promise of it.
 * Reported and reserved are facts; what is free is derived from them, and kept only as long as neither changes.
 */
import {
  add,
  type Capacity,
  type HostVm,
  type Liveness,
  NO_RESOURCES,
  type Resources,
  resourcesOf,
  subtract,
  sum,
  type VmSpec,
} from "@muster/protocol";
import type { SitePolicy } from "../core/core.ts";
import { HEARTBEAT_ASSUMED_MS } from "../core/limits.ts";
import type { HostRecord, VmRecord } from "../core/records.ts";
import type { Taken } from "../dispatch/flight.ts";
import { Flights } from "../dispatch/flights.ts";
import { NOTHING_TOLD } from "../networks/underlay.ts";
import { takenBy } from "../operations/taken-room.ts";
import type { HostOption, Reason } from "../scheduler/host-option.ts";

/** A group's name within its project: projects do not meet in one name. Lent VMs group within their peer's projects. */
export function groupKey(vm: Pick<VmRecord, "project" | "origin">, group: string): string {
  return vm.origin.kind === "peer" ? `${vm.origin.peer}/${vm.project}/${group}` : `/${vm.project}/${group}`;
}

/** What a host has to know of its site. */
export type HostSite = {
  /** Closed as long as the whole site only listens to its hosts. */
  readonly held: boolean;
  /** The host's option is another now. */
  touched(host: string): void;
};

const ALONE: HostSite = { held: false, touched: () => {} };

export class HostEntry {
  readonly name: string;
  liveness: Liveness = "unknown";
  /** The site around it. */
  site: HostSite = ALONE;
  /** Not heard for so long that what runs there is in doubt. */
  silent = false;
  heardAtMs: number | undefined;
  unavailableAtMs: number | undefined;
  capacity: Capacity | undefined;
  /** When `capacity` was heard: what is told to the host for a duration counts from then. */
  capacityAtMs = 0;
  /** Which start of the host manager speaks, and which one has answered our `hello` (H1). */
  bootId: string | undefined;
  welcomedBoot: string | undefined;
  /** Starts of the host manager that a later one took the place of: what they said late counts no more. */
  readonly pastBoots = new Set<string>();
  /** What we asked of it: when to ask again, and how often we did. */
  readonly hello = { dueMs: 0, tries: 0 };
  readonly fetch = { dueMs: 0, tries: 0 };
  readonly underlay = { ...NOTHING_TOLD };
  /** Whose list `reported` is; absent while no list of this boot was heard since the host was last lost (L4). */
  inventory: { readonly bootId: string; readonly digest: string } | undefined;
  /** Whether `reported` has moved on by single reports since the list was read: it is compared with the host's soon. */
  listMoved = false;
  /** VMs of which the host spoke while its list was on its way: the list may be older than that. */
  readonly movedSinceFetch = new Set<string>();
  /** What the host says of attempts, by VM. */
  readonly reported = new Map<string, HostVm>();
  /** VMs alive there that no record of ours puts there: they take room, and are left alone (H3). */
  readonly strays = new Set<string>();
  readonly flights = new Flights();
  /** Orders that the host took and is at: what comes of them follows by notice, see `Taken`. */
  readonly taken = new Map<string, Taken>();
  /** VMs with an order to come, for want of room among the flights. */
  readonly outbox = new Set<string>();
  readonly placed = new Map<string, Resources>();
  /** Room pencilled in for lender holds, by hold. */
  readonly held = new Map<string, Resources>();
  readonly affinity = new Map<string, number>();
  readonly antiAffinity = new Map<string, number>();
  #record: HostRecord;
  #used: Resources = NO_RESOURCES;
  #option: HostOption | undefined;
  readonly #overcommit: SitePolicy["overcommit"];

  constructor(record: HostRecord, overcommit: SitePolicy["overcommit"]) {
    this.name = record.name;
    this.#record = record;
    this.#overcommit = overcommit;
  }

  get record(): HostRecord {
    return this.#record;
  }

  set record(record: HostRecord) {
    this.#record = record;
    this.changed();
  }

  get heartbeatMs(): number {
    return this.capacity?.heartbeatMs ?? HEARTBEAT_ASSUMED_MS;
  }

  /** Heard, and its list of this boot is known: orders may go out and VMs be placed (L4). */
  get reconciled(): boolean {
    return this.inventory !== undefined && this.inventory.bootId === this.bootId;
  }

  /** Taken by our records, attempts on their way included. */
  get used(): Resources {
    return this.#used;
  }

  get size(): Resources {
    const { capacity } = this;
    if (capacity === undefined) return NO_RESOURCES;
    const { vcpus, memory } = this.#overcommit;
    const { total } = capacity;
    const promised = {
      ...total,
      vcpus: Math.floor(total.vcpus * vcpus),
      memoryMiB: Math.floor(total.memoryMiB * memory),
    };
    return subtract(promised, capacity.reserved);
  }

  /** The host as the scheduler sees it; made anew only after something changed. */
  option(): HostOption {
    this.#option ??= this.#makeOption();
    return this.#option;
  }

  changed(): void {
    if (this.#option === undefined) return;
    this.#option = undefined;
    this.site.touched(this.name);
  }

  take(vm: VmRecord): void {
    const resources = takenBy(vm);
    this.placed.set(vm.id, resources);
    this.#used = add(this.#used, resources);
    this.#group(vm, 1);
    this.changed();
  }

  give(vm: VmRecord): void {
    const resources = this.placed.get(vm.id);
    if (resources === undefined) return;
    this.placed.delete(vm.id);
    this.#used = subtract(this.#used, resources);
    this.#group(vm, -1);
    this.changed();
  }

  hold(id: string, spec: VmSpec): void {
    this.held.set(id, resourcesOf(spec));
    this.changed();
  }

  unhold(id: string): void {
    if (this.held.delete(id)) this.changed();
  }

  #group(vm: VmRecord, by: number): void {
    const { affinityGroup, antiAffinityGroup } = vm.spec;
    if (affinityGroup !== undefined) count(this.affinity, groupKey(vm, affinityGroup), by);
    if (antiAffinityGroup !== undefined) count(this.antiAffinity, groupKey(vm, antiAffinityGroup), by);
  }

  #makeOption(): HostOption {
    const { size } = this;
    const held = this.held.size === 0 ? NO_RESOURCES : sum(this.held.values());
    // What strays take is known from the host only: its own sum counts where it is the larger one.
    const taken = this.strays.size === 0 ? this.#used : larger(this.#used, this.capacity?.used ?? NO_RESOURCES);
    return {
      name: this.name,
      obstacle: obstacleOf(this),
      full: this.capacity?.condition === "full",
      size,
      free: subtract(subtract(size, taken), held),
      vms: this.placed.size,
      labels: this.capacity?.labels ?? {},
      images: new Set(this.capacity?.images ?? []),
      networks: this.capacity?.networks,
      tunnel: this.capacity?.tunnel,
      affinity: this.affinity,
      antiAffinity: this.antiAffinity,
    };
  }
}

/** What keeps every VM off the host, the gravest first. */
function obstacleOf(host: HostEntry): Reason | undefined {
  const { record, liveness, capacity } = host;
  if (record.fenced) return { reason: "fenced", message: "it was declared dead" };
  if (liveness === "lost") return { reason: "lost", message: "it is not heard any more" };
  if (liveness === "suspect") return { reason: "suspect", message: "its heartbeats are missing" };
  if (liveness === "unknown") return { reason: "unknown", message: "it was not heard yet" };
  if (record.draining) return { reason: "draining", message: "it is being drained" };
  if (capacity === undefined || capacity.bootId !== host.bootId)
    return { reason: "no-capacity-report", message: "it has not reported its capacity yet" };
  if (capacity.condition === "draining") return { reason: "draining", message: "it drains itself" };
  if (capacity.condition === "degraded")
    return { reason: "degraded", message: "its hypervisor does not answer: see the host manager's log" };
  if (!host.reconciled) return { reason: "not-reconciled", message: "its list of VMs was not heard yet" };
  return undefined;
}

function larger(left: Resources, right: Resources): Resources {
  return {
    vcpus: Math.max(left.vcpus, right.vcpus),
    memoryMiB: Math.max(left.memoryMiB, right.memoryMiB),
    diskGiB: Math.max(left.diskGiB, right.diskGiB),
    gpus: Math.max(left.gpus, right.gpus),
  };
}

function count(groups: Map<string, number>, key: string, by: number): void {
  const left = (groups.get(key) ?? 0) + by;
  if (left > 0) groups.set(key, left);
  else groups.delete(key);
}
