/** The lender's half within the core: leased VMs are placed by the same path as our own, with another origin. */
import type { LenderEnv, LenderEvent, LendRecord, Peering, WishExtras } from "@muster/broker";
import {
  add,
  isFinal,
  NO_RESOURCES,
  RESOURCE_KINDS,
  type Refusal,
  type Resources,
  refusal,
  type TunnelReach,
  type VmSpec,
} from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import { nextAttempt } from "../core/restored.ts";
import { addVm, changeVm, type Round } from "../core/round.ts";
import { attendPlace, deleteVm } from "../core/vm-verbs.ts";
import type { VmEntry } from "../core/working-set.ts";
import { chooseLentGuest, reservedFor } from "../images/guest-choice.ts";
import { namesForPeers } from "../images/image-choice.ts";
import { stepLedger } from "../ledger/keep-ledger.ts";
import { takeLentStep } from "../move/lent-moves.ts";
import { maintenanceNow } from "../peering/maintenance.ts";
import { hasBarrier, options, tryPlace } from "../queue/drain.ts";
import { demandOf } from "../scheduler/demand.ts";
import type { Demand } from "../scheduler/host-option.ts";
import { tallyLine } from "../scheduler/schedule.ts";
import { barredFor, classLine, classUses } from "./class-shares.ts";
import { isLeaseNews } from "./lease-terms.ts";
import { pencilIn } from "./pencils.ts";
import { reasonForPeer } from "./told-to-peers.ts";

/** Priority of a leased VM: its room was set aside before it came. */
const LENT_PRIORITY = 9;

/** Tells the lender something and carries out what follows from it. */
export function stepLender(round: Round, event: LenderEvent): void {
  const { turn } = round;
  const { changes, effects } = round.lender.step(event, lenderEnv(round, turn.nowMs));
  for (const change of changes) {
    if (change.kind === "put") turn.put(`lend/${change.record.peer}/${change.record.id}`, change.record);
    else turn.delete(`lend/${change.peer}/${change.id}`);
  }
  if (changes.length > 0) pencilIn(round);
  for (const change of changes) if (change.kind === "put") stepLedger(round, { kind: "lent", record: change.record });
  for (const change of changes) if (change.kind === "put") tellOfLease(round, change.record);
  for (const change of changes)
    if (change.kind === "put" && change.record.tunnel !== undefined)
      round.set.tunnels.touch({ kind: "guest", peer: change.record.peer, id: change.record.id });
  for (const effect of effects) {
    switch (effect.kind) {
      case "answer":
        turn.answer(effect.ticket, { kind: "burst", answer: effect.answer });
        break;
      case "refuse":
        turn.answer(effect.ticket, { kind: "refused", refusal: effect.refusal });
        break;
      case "done":
        turn.answer(effect.ticket, { kind: "lease", peer: effect.record.peer, lease: effect.record.id });
        break;
      case "tell":
        turn.event("lease", effect.record.id, effect.message);
        break;
      case "place":
        placeLent(round, effect.record);
        break;
      case "want":
        wantLent(round, effect.record, effect.wanted);
        break;
      case "remove":
        removeLent(round, effect.record, effect.reason);
        break;
      case "move":
        takeLentStep(round, effect, lentVm(round, effect.record));
        break;
      case "notify":
        turn.effect({ kind: "peer-notify", peer: effect.peer, states: effect.states });
        break;
    }
  }
}

/** B4: the host of a leased VM hears how long it is to run; what it has heard already is not said again. */
function tellOfLease(round: Round, lend: LendRecord): void {
  const entry = lend.stage === "leased" ? lentVm(round, lend) : undefined;
  if (entry !== undefined && isLeaseNews(round, entry)) attendPlace(round, entry);
}

/** Tells the lender of its VMs that changed in this step, until nothing follows any more. */
export function feedLender(round: Round): void {
  const { lentChanged, vms } = round.set;
  for (const vm of lentChanged) {
    lentChanged.delete(vm);
    const record = vms.get(vm)?.record;
    if (record?.origin.kind !== "peer") continue;
    const { peer, exchange: id } = record.origin;
    const { phase, address, access } = record;
    if (record.tunnel !== undefined) round.set.tunnels.touch({ kind: "guest", peer, id });
    const fetched = round.lender.find(peer, id)?.hold?.image !== undefined;
    const reason = reasonForPeer(record, fetched);
    stepLender(round, { kind: "vm-changed", id, peer, phase, address, access, reason });
  }
}

function originOf(record: { readonly peer: string; readonly id: string }): VmRecord["origin"] {
  return { kind: "peer", peer: record.peer, exchange: record.id };
}

function placeLent(round: Round, lend: LendRecord): void {
  const { set, turn } = round;
  const { hold } = lend;
  if (hold === undefined) return;
  const known = set.vms.get(hold.vm)?.record;
  if (known !== undefined && isSameLease(known, lend)) return;
  if (known !== undefined && (!isFinal(known.phase) || known.origin.kind === "local")) {
    // The id stands for another VM here: the exchange ends instead of touching it.
    const reason = "the VM id is in use at the lender";
    stepLender(round, { kind: "vm-changed", id: lend.id, peer: lend.peer, phase: "refused", reason });
    return;
  }
  const entry = addVm(round, {
    id: hold.vm,
    name: hold.name,
    request: lend.id,
    project: hold.project,
    user: hold.owner,
    spec: hold.spec,
    priority: LENT_PRIORITY,
    burst: "never",
    leaseMs: lend.leaseMs,
    origin: originOf(lend),
    phase: "queued",
    wanted: "running",
    place: { kind: "none" },
    // Hosts may still have an attempt of an earlier lease of the same VM. It is never used again (H5), and a number that is
    // skipped makes it an earlier one: what is left of it is removed, not taken for this lease's.
    attempt: known === undefined ? 0 : nextAttempt(known),
    queueOrder: set.nextOrder(),
    createdAtMs: turn.nowMs,
    changedAtMs: turn.nowMs,
    ...(hold.incoming === true ? { lentMove: { role: "incoming" } as const } : {}),
    ...(hold.tunnel === undefined ? {} : { tunnel: hold.tunnel }),
    ...reservedFor(set, chooseLentGuest(set, round.policy, hold.spec, hold), hold.vm, turn.nowMs),
  });
  if (set.reconciled) tryPlace(round, entry);
}

function isSameLease({ origin }: VmRecord, lend: LendRecord): boolean {
  return origin.kind === "peer" && origin.peer === lend.peer && origin.exchange === lend.id;
}

function lentVm(round: Round, lend: LendRecord): VmEntry | undefined {
  const entry = lend.hold === undefined ? undefined : round.set.vms.get(lend.hold.vm);
  return entry !== undefined && isSameLease(entry.record, lend) ? entry : undefined;
}

function wantLent(round: Round, lend: LendRecord, wanted: "running" | "paused" | "stopped"): void {
  const entry = lentVm(round, lend);
  if (entry === undefined || isFinal(entry.record.phase) || entry.record.wanted === "deleted") return;
  entry.retryAtMs = 0;
  changeVm(round, entry, { wanted });
  attendPlace(round, entry);
}

function removeLent(round: Round, lend: LendRecord, reason: string): void {
  const entry = lentVm(round, lend);
  if (entry === undefined || isFinal(entry.record.phase)) {
    stepLender(round, { kind: "vm-changed", id: lend.id, peer: lend.peer, phase: "deleted" });
    return;
  }
  deleteVm(round, entry, reason);
}

/** The site as its lender sees it; without a turn, for views, at this time. */
export function lenderEnv(round: Omit<Round, "turn">, nowMs: number): LenderEnv {
  const { policy, set } = round;
  let known: SiteRoom | undefined;
  const room = (): SiteRoom => {
    known ??= roomOfSite(round);
    return known;
  };
  return {
    nowMs,
    term: policy.term,
    agent: policy.agent,
    peering: (domain) => set.peers.find(domain, nowMs),
    roomFor: (spec, extras) => roomFor(round, spec, nowMs, extras),
    classRoom: (peering, wish) => classRoom(round, peering, wish),
    // Added up for who asks: most of what a lender hears, and every tick, does not.
    get siteTotal() {
      return room().total;
    },
    get siteFree() {
      return set.reconciled ? room().free : NO_RESOURCES;
    },
    get largest() {
      return set.reconciled ? room().largest : NO_RESOURCES;
    },
    get images() {
      return namesForPeers({ images: set.images, configured: policy.images });
    },
    maintenance: maintenanceNow({ set }, nowMs),
    graceMs: policy.timing.leaseGraceMs,
    rememberMs: policy.timing.rememberMs,
  };
}

type SiteRoom = { readonly total: Resources; readonly free: Resources; readonly largest: Resources };

function roomOfSite(round: Pick<Round, "set">): SiteRoom {
  let total: Resources = NO_RESOURCES;
  let free: Resources = NO_RESOURCES;
  let largest: Resources = NO_RESOURCES;
  for (const option of options(round)) {
    total = add(total, option.size);
    if (option.obstacle !== undefined) continue;
    free = add(free, option.free);
    if (sizeOrder(option.free) > sizeOrder(largest)) largest = option.free;
  }
  return { total, free, largest };
}

/** Hosts by how much of a VM they take: by vCPUs, then memory, then disk. */
function sizeOrder(free: Resources): number {
  return RESOURCE_KINDS.reduce((order, kind) => order * 1e5 + Math.min(free[kind], 99_999), 0);
}

/** Home first: what waits here comes before what a peer asks for. */
function roomFor(
  round: Omit<Round, "turn">,
  spec: VmSpec,
  nowMs: number,
  extras: WishExtras = {},
): Refusal | undefined {
  const { set, policy } = round;
  const wait = { retryAfterMs: 2_000 };
  if (!set.reconciled)
    return refusal("resource-constraint", "not-reconciled", "the site has just started: try again soon", wait);
  if (set.active + 1 > policy.vmsMax)
    return refusal("resource-constraint", "too-many-vms", "the site has as many VMs as it may", wait);
  if (hasBarrier(round, nowMs))
    return refusal("resource-constraint", "own-queue", "the site's own VMs have waited too long already", wait);
  const guest = chooseLentGuest(set, policy, spec, extras);
  if (!guest.ok) return guest.error;
  const full = guest.value.networks.find((network) => !set.networks.hasRoom(network, nowMs));
  if (full !== undefined) return refusal("resource-constraint", "no-address", set.networks.fullLine(full, nowMs), wait);
  const decision = set.rankings.decide(lentDemand(round, spec, extras.tunnel, guest.value), set.hosts);
  if (decision.kind === "host") return undefined;
  return refusal("resource-constraint", "no-capacity", `no host takes it now: ${tallyLine(decision.tally)}`, wait);
}

type LentGuest = Extract<ReturnType<typeof chooseLentGuest>, { readonly ok: true }>["value"];

function lentDemand(
  { policy }: Pick<Round, "policy">,
  spec: VmSpec,
  tunnel: TunnelReach | undefined,
  { imageDigest, networks }: LentGuest,
): Demand {
  const origin = { kind: "peer", peer: "", exchange: "" } as const;
  return demandOf({ spec, project: "", origin, imageDigest, tunnel }, networks, policy.images);
}

/** Whether the peer's shares of classes of hosts leave one that has room; `undefined` where its policy names none. */
function classRoom(
  round: Omit<Round, "turn">,
  peering: Peering,
  wish: WishExtras & { readonly spec: VmSpec },
): Refusal | string | undefined {
  const { spec, tunnel } = wish;
  const { set, policy } = round;
  const uses = classUses(round, peering);
  if (uses.length === 0) return undefined;
  const barred = barredFor(round, peering, spec);
  const guest = chooseLentGuest(set, policy, spec, wish);
  if (barred === undefined || !guest.ok) return classLine(uses);
  const demand = lentDemand(round, spec, tunnel, guest.value);
  const decision = set.rankings.decide({ ...demand, barred }, set.hosts);
  // What no host would take anyway is for the room to say.
  if (decision.kind === "host" || set.rankings.decide(demand, set.hosts).kind === "none") return classLine(uses);
  const [why] = barred.values();
  return refusal("resource-constraint", "class-share", why?.message ?? classLine(uses), { retryAfterMs: 5_000 });
}
