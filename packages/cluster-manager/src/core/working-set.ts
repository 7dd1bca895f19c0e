/**
 * Everything the leader works on, in memory: the records and what is derived from them, kept in step with every change so
 * that no decision has to count anything over again. `putVm` is the one place where a VM's record changes.
 */
import {
  add,
  type CandidateView,
  type CommandSubject,
  isFinal,
  NO_RESOURCES,
  type Refusal,
  type Resources,
  subtract,
  type VmPhase,
} from "@muster/protocol";
import { ImageCatalogue } from "../images/image-catalogue.ts";
import { HostEntry } from "../inventory/host-entry.ts";
import type { OwnLink } from "../inventory/liveness.ts";
import type { LentStep } from "../move/lent-step.ts";
import type { MoveTalk } from "../move/move-talk.ts";
import { ADDRESS_COOL_MS, NetworkBook } from "../networks/network-book.ts";
import { UnderlayBook } from "../networks/underlay.ts";
import { takenBy } from "../operations/taken-room.ts";
import type { MaintenanceRecord } from "../peering/maintenance.ts";
import { PeerBook } from "../peering/peer-book.ts";
import { WaitQueue } from "../queue/wait-queue.ts";
import { Rankings } from "../scheduler/rankings.ts";
import { weightsOf } from "../scheduler/scores.ts";
import { TunnelBook } from "../tunnels/tunnel-book.ts";
import type { SitePolicy } from "./core.ts";
import type { HostRecord, RequestRecord, VmRecord } from "./records.ts";
import type { RestoreRecord } from "./restore-record.ts";

/** A VM in the working set: its record, and what is remembered of it only as long as this core lives. */
export type VmEntry = {
  record: VmRecord;
  /** The attempt is to be voided rather than started: its host was silent or refused (H5). */
  askVoid: boolean;
  /** How far its lease is known to the host of this attempt, in site time, grace included (B4). */
  leaseTold: { readonly attempt: number; readonly endMs: number } | undefined;
  /** Orders that did not take, in a row, and when the next one may go. */
  setbacks: number;
  retryAtMs: number;
  /** Hosts that turned it down, until when they are left out. */
  avoid: Map<string, number>;
  /** State of the site in which no host would do; the same state needs no second look. */
  triedEpoch: number;
  /** Younger ones that passed it in the queue. */
  passes: number;
  /** Peers were asked and have not said no; how often they were, and when they may be again. */
  wanting: boolean;
  wants: number;
  wantAtMs: number;
  peers: { readonly candidates: readonly CandidateView[]; readonly refusal: Refusal } | undefined;
};

export type Usage = { readonly resources: Resources; readonly vms: number };

export class WorkingSet {
  readonly requests = new Map<string, RequestRecord>();
  readonly vms = new Map<string, VmEntry>();
  readonly hosts = new Map<string, HostEntry>();
  /** Hosts that an admin removed. */
  readonly removed = new Set<string>();
  readonly images = new ImageCatalogue();
  readonly networks = new NetworkBook();
  readonly peers: PeerBook;
  /** As it was announced last; it may be over by its time. */
  maintenance: MaintenanceRecord | undefined;
  readonly queue = new WaitQueue<VmEntry>();
  /** Final records, oldest first, to be pruned. */
  readonly ended: string[] = [];
  /** VMs whose next order has to wait for a time. */
  readonly later = new Set<string>();
  /** By VM, the hosts on which an attempt is alive that is not its place: it is placed nowhere meanwhile (P1). */
  readonly strays = new Map<string, Set<string>>();
  /** Lent VMs that changed in this step and of which the lender is to hear. */
  readonly lentChanged = new Set<string>();
  /** Which host the room of a lender hold is pencilled in at. */
  readonly pencils = new Map<string, string>();
  /** Whether a hold has no such host, so that room that comes free is its before it is anybody's. */
  holdsWithoutRoom = false;
  /** VMs that are being moved alive, or of which a move left something to be cleaned up. */
  readonly moves = new Map<string, MoveTalk>();
  /** VMs that are being moved between sites, of whose exchange there was news in this step. */
  readonly moveNews = new Set<string>();
  /** Steps of moves of peers' VMs that a host of ours was asked, by VM. Not stored: the borrower asks again. */
  readonly lentSteps = new Map<string, LentStep>();
  /** VMs whose move ended in this step: what their hosts say counts again. */
  readonly afterMove = new Set<string>();
  link: OwnLink = { online: true, sinceMs: 0 };
  /** Set at the first step: from then on the hosts have time to be heard (L4). */
  startedAtMs: number | undefined;
  reconciled = false;
  /** How the records came to be there, where a restore put them in place. */
  restore: RestoreRecord | undefined;
  /** Hosts that have obeyed a higher term than ours (H1): while there is one, nothing is ordered and placed. */
  readonly newerTerms = new Map<string, number>();
  /** What VMs are that no record knows, as their hosts say, by VM. */
  readonly subjects = new Map<string, CommandSubject>();
  /** Until then: VMs first asked of this leader, which no host can have heard of from another one. */
  readonly arrivals = new Set<string>();
  sweptAtMs = 0;
  balancedAtMs = 0;
  /** Steps taken, and when the last one was: what views remember is good until the next. */
  steps = 0;
  steppedAtMs = 0;
  /** Where the tunnels of the hosts end. */
  /** Ends of tunnels to other sites, at hosts of ours. */
  readonly tunnels = new TunnelBook();
  readonly underlay = new UnderlayBook();
  /** VMs for which peers are being asked. */
  wantsOpen = 0;
  /** Rises whenever room may have come free. */
  epoch = 0;
  queueDirty = false;
  /** Rises with every change of the set of VMs: what views keep is made anew. */
  generation = 0;
  active = 0;
  /** How many VMs are in each phase. */
  readonly phases = new Map<VmPhase, number>();
  readonly #names = new Map<string, string>();
  readonly #byName = new Map<string, Set<string>>();
  readonly #usage = new Map<string, Usage>();
  #order = 0;
  /** Hosts as they suit the demands of late. */
  readonly rankings: Rankings;
  readonly #policy: SitePolicy;

  constructor(policy: SitePolicy, ownKeys?: () => readonly string[]) {
    this.#policy = policy;
    this.rankings = new Rankings(weightsOf(policy.weights));
    this.peers = new PeerBook(policy.peerings, ownKeys);
  }

  /** Whether what the records say is not to be relied on yet: hosts are only listened to. */
  get held(): boolean {
    return this.restore?.state === "pending" || this.newerTerms.size > 0;
  }

  nextOrder(): number {
    this.#order += 1;
    return this.#order;
  }

  /** Room may have come free: everybody who waits is looked at again. */
  wake(): void {
    this.epoch += 1;
    this.queueDirty = true;
  }

  putHost(record: HostRecord): HostEntry {
    const known = this.hosts.get(record.name);
    if (known !== undefined) {
      known.record = record;
      return known;
    }
    const entry = new HostEntry(record, this.#policy.overcommit);
    entry.site = this;
    this.hosts.set(record.name, entry);
    this.touched(record.name);
    return entry;
  }

  dropHost(name: string): void {
    this.hosts.delete(name);
    this.touched(name);
  }

  touched(host: string): void {
    this.rankings.touched(host);
  }

  /** Puts a VM's record in place of the one before and brings all that is derived up to it. */
  putVm(record: VmRecord): VmEntry {
    const known = this.vms.get(record.id);
    const entry = known ?? newEntry(record);
    if (known === undefined) {
      this.vms.set(record.id, entry);
      this.generation += 1;
      this.#order = Math.max(this.#order, record.queueOrder);
    } else {
      this.#tally(known.record.phase, -1);
      this.#forget(known);
    }
    entry.record = record;
    this.#tally(record.phase, 1);
    this.#learn(entry);
    return entry;
  }

  dropVm(id: string): void {
    const entry = this.vms.get(id);
    if (entry === undefined) return;
    this.#tally(entry.record.phase, -1);
    this.#forget(entry);
    this.vms.delete(id);
    this.later.delete(id);
    this.generation += 1;
  }

  usageOf(project: string): Usage {
    return this.#usage.get(project) ?? { resources: NO_RESOURCES, vms: 0 };
  }

  /** The VM of that name in the project that is not final. */
  named(project: string, name: string): string | undefined {
    return this.#names.get(`${project}/${name}`);
  }

  /** By id, or by a name that is unique among all local VMs that are not final. */
  find(idOrName: string): VmEntry | "ambiguous" | undefined {
    const byId = this.vms.get(idOrName);
    if (byId !== undefined) return byId;
    const ids = this.#byName.get(idOrName);
    if (ids === undefined) return undefined;
    if (ids.size > 1) return "ambiguous";
    for (const id of ids) return this.vms.get(id);
    return undefined;
  }

  #learn(entry: VmEntry): void {
    const { record } = entry;
    if (isFinal(record.phase)) {
      this.ended.push(record.id);
      if (record.attempt > 0) this.networks.cool(record, record.changedAtMs + ADDRESS_COOL_MS);
      return;
    }
    this.active += 1;
    this.networks.take(record);
    this.images.count(record, 1);
    if (record.place.kind === "host") this.hosts.get(record.place.host)?.take(record);
    if (record.phase === "queued") {
      this.queue.add(entry);
      this.queueDirty = true;
    }
    if (record.origin.kind === "local") this.#count(record, 1);
  }

  #forget(entry: VmEntry): void {
    const { record } = entry;
    if (isFinal(record.phase)) return;
    this.active -= 1;
    this.networks.give(record);
    this.images.count(record, -1);
    if (record.place.kind === "host") this.hosts.get(record.place.host)?.give(record);
    if (record.phase === "queued") this.queue.remove(entry);
    if (record.origin.kind === "local") this.#count(record, -1);
  }

  #tally(phase: VmPhase, by: 1 | -1): void {
    const count = (this.phases.get(phase) ?? 0) + by;
    if (count === 0) this.phases.delete(phase);
    else this.phases.set(phase, count);
  }

  #count(record: VmRecord, by: 1 | -1): void {
    const usage = this.usageOf(record.project);
    const resources = takenBy(record);
    const vms = usage.vms + by;
    if (vms === 0) this.#usage.delete(record.project);
    else {
      const next = by === 1 ? add(usage.resources, resources) : subtract(usage.resources, resources);
      this.#usage.set(record.project, { resources: next, vms });
    }
    const key = `${record.project}/${record.name}`;
    const ids = this.#byName.get(record.name) ?? new Set<string>();
    if (by === 1) {
      this.#names.set(key, record.id);
      this.#byName.set(record.name, ids.add(record.id));
    } else {
      if (this.#names.get(key) === record.id) this.#names.delete(key);
      ids.delete(record.id);
      if (ids.size === 0) this.#byName.delete(record.name);
    }
  }
}

function newEntry(record: VmRecord): VmEntry {
  return {
    record,
    askVoid: false,
    leaseTold: undefined,
    setbacks: 0,
    retryAtMs: 0,
    avoid: new Map(),
    triedEpoch: -1,
    passes: 0,
    wanting: false,
    wants: 0,
    wantAtMs: 0,
    peers: undefined,
  };
}
