/** Records and entries as the API shows them. */
import type { BorrowRecord, LendRecord } from "@muster/broker";
import {
  add,
  type HostView,
  hostAccount,
  isFinal,
  type LeaseView,
  NO_RESOURCES,
  type Resources,
  resourcesOf,
  type SiteView,
  type VmView,
} from "@muster/protocol";
import type { HostEntry } from "../inventory/host-entry.ts";
import { statusLine } from "../inventory/status-line.ts";
import type { MoveRecord } from "../move/move-record.ts";
import type { MoveTalk } from "../move/move-talk.ts";
import { operationParts } from "../operations/operation-view.ts";
import { maintenanceNow, maintenanceView } from "../peering/maintenance.ts";
import { borrowedTunnel, lentTunnel } from "../tunnels/lease-tunnel-view.ts";
import type { VmRecord } from "./records.ts";
import type { World } from "./views.ts";

export function siteView({ set, policy }: World, nowMs: number): SiteView {
  let total: Resources = NO_RESOURCES;
  let reserved: Resources = NO_RESOURCES;
  let used: Resources = NO_RESOURCES;
  let free: Resources = NO_RESOURCES;
  const hosts: Record<string, number> = {};
  for (const host of set.hosts.values()) {
    const option = host.option();
    total = add(total, host.capacity?.total ?? NO_RESOURCES);
    reserved = add(reserved, host.capacity?.reserved ?? NO_RESOURCES);
    used = add(used, host.used);
    // What no VM may be placed on now is not free, whatever is left of it.
    if (option.obstacle === undefined) free = add(free, option.free);
    hosts[host.liveness] = (hosts[host.liveness] ?? 0) + 1;
  }
  return {
    domain: policy.domain,
    leader: policy.manager,
    term: policy.term,
    managers: [{ name: policy.manager, role: "leader" }],
    total,
    reserved,
    used,
    free,
    hosts,
    vms: Object.fromEntries(set.phases),
    queued: set.queue.size,
    reconciled: set.reconciled,
    ...maintenanceView(maintenanceNow({ set }, nowMs)),
  };
}

export function hostView({ policy }: World, host: HostEntry): HostView {
  const { capacity, record } = host;
  const { size, free } = host.option();
  return {
    name: host.name,
    account: hostAccount(host.name, policy.domain),
    liveness: host.liveness,
    condition: conditionOf(host),
    draining: record.draining,
    total: capacity?.total ?? NO_RESOURCES,
    reserved: capacity?.reserved ?? NO_RESOURCES,
    used: host.used,
    free,
    promisable: size,
    vms: host.placed.size,
    foreignVms: (capacity?.foreignVms ?? 0) + host.strays.size,
    labels: { ...capacity?.labels },
    images: [...(capacity?.images ?? [])],
    ...(capacity?.networks === undefined ? {} : { networks: capacity.networks }),
    ...(capacity?.underlay === undefined ? {} : { underlay: capacity.underlay }),
    ...(capacity?.tunnel === undefined ? {} : { tunnel: capacity.tunnel }),
    driver: capacity?.driver ?? "",
    hypervisor: capacity?.hypervisor ?? "",
    agent: capacity?.agent ?? "",
    termObeyed: capacity?.termObeyed ?? 0,
    ...(host.heardAtMs === undefined ? {} : { lastHeardMs: host.heardAtMs }),
    statusLine: statusLine(free, size, host.placed.size, capacity?.labels),
  };
}

function conditionOf({ capacity, record }: HostEntry): string {
  if (record.fenced) return "fenced";
  if (record.draining) return "draining";
  return capacity?.condition ?? (record.joined === false ? "enrolled, never seen" : "unknown");
}

/** `waits`: why it waits, where it does. */
export function vmView(record: VmRecord, waits: string | undefined, talk?: MoveTalk): VmView {
  const reason = record.phase === "queued" ? (waits ?? record.reason) : record.reason;
  const address = record.address ?? reservedAddress(record);
  return {
    id: record.id,
    name: record.name,
    request: record.request,
    project: record.project,
    user: record.user,
    phase: record.phase,
    wanted: record.wanted,
    place: placeView(record),
    origin:
      record.origin.kind === "local"
        ? { kind: "local" }
        : { kind: "peer", peer: record.origin.peer, lease: record.origin.exchange },
    attempt: record.attempt,
    spec: record.spec,
    priority: record.priority,
    burst: record.burst,
    ...(address === undefined ? {} : { address }),
    ...(record.address === undefined || record.access === undefined ? {} : { access: record.access }),
    ...(record.imageDigest === undefined ? {} : { imageDigest: record.imageDigest }),
    ...(record.nics === undefined ? {} : { nics: record.nics.map((nic) => ({ ...nic })) }),
    ...(record.move === undefined ? {} : { move: moveView(record.move, talk) }),
    ...operationParts(record),
    ...(reason === undefined ? {} : { reason }),
    createdAt: new Date(record.createdAtMs).toISOString(),
    changedAt: new Date(record.changedAtMs).toISOString(),
  };
}

function moveView({ from, to, stage }: MoveRecord, talk: MoveTalk | undefined): VmView["move"] {
  return { from, to, stage, ...talk?.progress };
}

/** Known before it boots, since it is reserved; at a peer it is the peer's to say. */
function reservedAddress({ nics = [], place, phase }: VmRecord): string | undefined {
  return isFinal(phase) || place.kind === "peer"
    ? undefined
    : nics.find(({ address }) => address !== undefined)?.address;
}

function placeView({ place, phase }: VmRecord): VmView["place"] {
  if (isFinal(phase) || place.kind === "none") return { kind: "none" };
  if (place.kind === "host") return { kind: "host", host: place.host };
  return { kind: "peer", peer: place.peer, lease: place.exchange };
}

/** Both roles, by id. Closed exchanges are history, not leases. */
export function leaseViews({ lender, borrower, set }: World, nowMs: number): LeaseView[] {
  const leases: LeaseView[] = [];
  for (const record of borrower.records())
    if (record.stage !== "closed") leases.push({ ...borrowedView(record, nowMs), ...borrowedTunnel(set, record) });
  for (const record of lender.records()) {
    const waits = approvalPart(record, nowMs) !== undefined;
    if (record.stage === "released" || (record.stage === "voided" && !waits)) continue;
    const view = lentView(record, nowMs);
    if (view !== undefined) leases.push({ ...view, ...lentTunnel(set, record) });
  }
  return leases.sort((left, right) => (left.id < right.id ? -1 : 1));
}

function borrowedView(record: BorrowRecord, nowMs: number): LeaseView {
  return {
    id: record.id,
    role: "borrower",
    peer: record.peer,
    vm: record.vm,
    name: record.name,
    project: record.project,
    resources: resourcesOf(record.spec),
    ...lifeOf(record, nowMs),
  };
}

/** A hold that waits for an admin, or, approved, for its borrower to ask again. */
function approvalPart({ stage, approval }: LendRecord, nowMs: number): Partial<LeaseView> | undefined {
  if (stage !== "voided" || approval === undefined || approval.untilMs <= nowMs) return undefined;
  const remainingMs = approval.untilMs - nowMs;
  if (approval.state === "pending") return { stage: "pending-approval", remainingMs };
  if (approval.state === "denied") return undefined;
  return {
    stage: "approved",
    remainingMs,
    reason: "approved: its borrower gets it when it asks again, within a minute",
  };
}

export function lentView(record: LendRecord, nowMs: number): LeaseView | undefined {
  const { hold } = record;
  if (hold === undefined) return undefined;
  return {
    id: record.id,
    role: "lender",
    peer: record.peer,
    vm: hold.vm,
    name: hold.name,
    project: hold.project,
    resources: resourcesOf(hold.spec),
    ...lifeOf(record, nowMs),
    ...approvalPart(record, nowMs),
  };
}

function lifeOf(record: BorrowRecord | LendRecord, nowMs: number) {
  const { endsAtMs, prices } = record;
  const reason = record.stage === "leased" ? (record.endReason ?? record.reason) : record.reason;
  return {
    stage: record.stage,
    revision: record.revision,
    remainingMs: Math.max(0, Math.min(record.expiresAtMs, endsAtMs ?? record.expiresAtMs) - nowMs),
    renewals: record.renewals,
    ...(record.vmPhase === undefined ? {} : { vmPhase: record.vmPhase }),
    ...(reason === undefined ? {} : { reason }),
    ...(endsAtMs === undefined ? {} : { endsWithinMs: Math.max(0, endsAtMs - nowMs) }),
    ...(prices === undefined ? {} : { prices }),
  };
}
