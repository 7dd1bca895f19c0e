/** Why a VM is where it is, or waits: every refusal and every wait, host by host and peer by peer (P4). */
import { ok } from "@muster/base";
import type { BorrowerEnv, Terms } from "@muster/broker";
import {
  type CandidateView,
  type Explanation,
  isFinal,
  type QueueEntry,
  subtract,
  type VmCreate,
} from "@muster/protocol";
import { imageForPeers, specForPeers } from "../dispatch/borrowing.ts";
import { imageDigestOf } from "../images/guest-choice.ts";
import { chooseNetworks } from "../networks/network-choice.ts";
import { options } from "../queue/drain.ts";
import { demandOf } from "../scheduler/demand.ts";
import type { Demand, HostOption } from "../scheduler/host-option.ts";
import { type Decision, explain, schedule, tallyLine } from "../scheduler/schedule.ts";
import { refuseActor, refuseRequest, vmNames } from "./admission.ts";
import type { Actor } from "./event.ts";
import type { VmRecord } from "./records.ts";
import type { World } from "./views.ts";
import type { VmEntry } from "./working-set.ts";

/** Waiting VMs of which a list tells the reason, and every candidate; `why` explains any. */
const REASONED_MAX = 500;
const EXPLAINED_MAX = 50;
const NOBODY = "no host and no peer";

export function why(world: World, vm: string, nowMs: number, env: BorrowerEnv): Explanation | undefined {
  const entry = world.set.find(vm);
  if (entry === undefined || entry === "ambiguous") return undefined;
  const { record } = entry;
  if (record.phase === "queued") return whyWaiting(world, entry, nowMs, env);
  return { vm: record.id, phase: record.phase, summary: summaryOf(world, record), candidates: placeCandidate(record) };
}

export function queueOf(world: World, nowMs: number, env: BorrowerEnv): QueueEntry[] {
  const home = remembered(world, nowMs);
  return world.set.queue.entries.map((entry, index) => {
    const { record } = entry;
    const candidates = index < EXPLAINED_MAX ? candidatesOf(world, entry, env, home) : [];
    return {
      position: index + 1,
      vm: record.id,
      name: record.name,
      project: record.project,
      priority: record.priority,
      waitingMs: Math.max(0, nowMs - record.createdAtMs),
      reason: index < REASONED_MAX ? waitReason(world, entry, home, nowMs) : (record.reason ?? "many wait before it"),
      candidates,
    };
  });
}

/** What would become of such a request now. */
export function dryRun(world: World, actor: Actor, create: VmCreate, nowMs: number, env: BorrowerEnv): Explanation {
  const name = vmNames(create)[0] ?? create.name;
  const refused = refuseActor(actor, create.project) ?? refuseRequest(world, create);
  if (refused !== undefined) return { vm: name, phase: "refused", summary: refused.message, candidates: [] };
  const { spec, project, burst, count } = create;
  const imageDigest = imageDigestOf(world.set, world.policy, create);
  const networks = imageDigest === undefined ? ok([]) : chooseNetworks(world.set.networks, spec.networks, project);
  const wish = { spec, project, origin: { kind: "local" }, imageDigest } as const;
  const demand = demandOf(wish, networks.ok ? networks.value : [], world.policy.images);
  const hosts = [...options(world)];
  const places = burst === "only" || !world.set.reconciled ? [] : rehearse(world, demand, hosts, count);
  const fits = places.length < count ? [] : places;
  const home = burst === "only" ? [] : explain(demand, fits.length > 0 ? options(world) : hosts, world.weights);
  if (fits.length > 0)
    return { vm: name, phase: "placing", summary: `${theyWould(count)} be placed on ${tally(fits)}`, candidates: home };
  const outside = whereElse(world, create, home, nowMs, env);
  if (places.length === 0) return { vm: name, ...outside };
  const first = `${places.length} of ${count} would be placed on ${tally(places)}; of the others: `;
  return { vm: name, ...outside, summary: `${first}${outside.summary}` };
}

function theyWould(count: number): string {
  return count === 1 ? "it would" : `all ${count} would`;
}

/** Hosts by name with how many go there: `host1 (2), host2`. */
function tally(places: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1);
  return [...counts].map(([place, count]) => (count === 1 ? place : `${place} (${count})`)).join(", ");
}

/** The places that VMs alike would get one after the other; each takes its room off its host among `hosts`. */
function rehearse(world: World, demand: Demand, hosts: HostOption[], count: number): string[] {
  const places: string[] = [];
  while (places.length < count) {
    const decision = schedule(demand, hosts, world.weights);
    if (decision.kind === "none") break;
    const at = hosts.findIndex(({ name }) => name === decision.host);
    hosts.splice(at, 1, ...hosts.slice(at, at + 1).map((host) => withOne(host, demand)));
    places.push(decision.host);
  }
  return places;
}

function withOne(host: HostOption, { resources, affinity, antiAffinity }: Demand): HostOption {
  return {
    ...host,
    free: subtract(host.free, resources),
    vms: host.vms + 1,
    affinity: oneMore(host.affinity, affinity),
    antiAffinity: oneMore(host.antiAffinity, antiAffinity),
  };
}

function oneMore(groups: ReadonlyMap<string, number>, group: string | undefined): ReadonlyMap<string, number> {
  return group === undefined ? groups : new Map([...groups, [group, (groups.get(group) ?? 0) + 1]]);
}

/** What becomes of one that home does not take now: a peer is asked, or it waits. */
function whereElse(
  world: World,
  create: VmCreate,
  home: readonly CandidateView[],
  nowMs: number,
  env: BorrowerEnv,
): Omit<Explanation, "vm"> {
  const { spec, burst, priority, project, leaseMs, maxPricePerHour } = create;
  const imageDigest = imageDigestOf(world.set, world.policy, create);
  const image = imageForPeers(world, imageDigest, nowMs);
  const terms = { project, leaseMs, maxPricePerHour, image };
  const peers = burst === "never" ? [] : peersFor(world, { ...env, nowMs }, specForPeers({ spec, imageDigest }), terms);
  const candidates = [...home, ...peers];
  const peer = peers.find(({ verdict }) => verdict === "chosen");
  if (peer !== undefined) return { phase: "placing", summary: `it would be asked of ${peer.name}`, candidates };
  const position = world.set.queue.entries.filter(({ record }) => record.priority >= priority).length + 1;
  const reasons = world.set.reconciled ? reasonsLine(candidates) : GATE;
  return { phase: "queued", summary: `it would wait: ${reasons}`, position, candidates };
}

/** The first that would take it is the one that is asked. */
function peersFor(world: World, env: BorrowerEnv, spec: VmCreate["spec"], terms: Terms): CandidateView[] {
  const peers = [...world.borrower.candidates(spec, env, terms)];
  const best = peers.findIndex(({ verdict }) => verdict === "possible");
  return peers.map((peer, index) => (index === best ? { ...peer, verdict: "chosen" } : peer));
}

function whyWaiting(world: World, entry: VmEntry, nowMs: number, env: BorrowerEnv): Explanation {
  const { record } = entry;
  const home = remembered(world, nowMs);
  const candidates = candidatesOf(world, entry, env, home);
  const position = world.set.queue.positionOf(entry);
  return {
    vm: record.id,
    phase: record.phase,
    summary: `it waits${position === undefined ? "" : ` as number ${position}`}: ${waitReason(world, entry, home, nowMs)}`,
    ...(position === undefined ? {} : { position }),
    candidates,
  };
}

const GATE = "the site has just started and listens for its hosts first";

/** What home says to a VM; VMs that ask for the same get the same answer, worked out once. */
type Home = { readonly decision: Decision; readonly candidates: () => readonly CandidateView[] };

function remembered(world: World, nowMs: number): (entry: VmEntry) => Home {
  const known = new Map<string, Home>();
  return (entry) => {
    const avoid = avoided(entry, nowMs);
    const demand = demandOf(entry.record, world.set.networks.networksOf(entry.record), world.policy.images, avoid);
    const key = JSON.stringify([demand, ...avoid]);
    const had = known.get(key);
    if (had !== undefined) return had;
    let candidates: readonly CandidateView[] | undefined;
    const home: Home = {
      decision: schedule(demand, options(world), world.weights),
      candidates() {
        candidates ??= explain(demand, options(world), world.weights).map(unchosen);
        return candidates;
      },
    };
    known.set(key, home);
    return home;
  };
}

/** Nothing is chosen yet for one that waits. */
function unchosen(candidate: CandidateView): CandidateView {
  return candidate.verdict === "chosen" ? { ...candidate, verdict: "possible" } : candidate;
}

/** Why a VM waits, in a line; VMs that ask for the same share the work. */
export function waitReasons(world: World, nowMs: number): (entry: VmEntry) => string {
  const home = remembered(world, nowMs);
  return (entry) => waitReason(world, entry, home, nowMs);
}

function waitReason(world: World, entry: VmEntry, homeOf: (entry: VmEntry) => Home, nowMs: number): string {
  if (!world.set.reconciled) return GATE;
  const { record } = entry;
  // Room is not what it lacks (P1).
  if (record.reason !== undefined && world.set.strays.has(record.id)) return record.reason;
  const before = record.reason === undefined ? "" : `${record.reason}; `;
  const home = record.burst === "only" ? undefined : homeOf(entry).decision;
  const parts: string[] = [];
  const lack = world.set.networks.lack(record, nowMs);
  if (lack !== undefined) parts.push(lack);
  if (home?.kind === "none") parts.push(`no host takes it: ${tallyLine(home.tally)}`);
  if (home?.kind === "host" && lack === undefined) parts.push("others before it in the queue wait for the room");
  if (entry.peers !== undefined) parts.push(entry.peers.refusal.message);
  else if (entry.wanting) parts.push("peers are being asked");
  else if (record.burst === "only") parts.push("peers are to be asked");
  return `${before}${parts.join("; ")}`.slice(0, 500);
}

function candidatesOf(
  world: World,
  entry: VmEntry,
  env: BorrowerEnv,
  homeOf: (entry: VmEntry) => Home,
): CandidateView[] {
  const { record } = entry;
  const home = record.burst === "only" ? [] : homeOf(entry).candidates();
  if (record.burst === "never") return [...home];
  const terms = { ...record, image: imageForPeers(world, record.imageDigest, env.nowMs) };
  const peers = entry.peers?.candidates ?? world.borrower.candidates(specForPeers(record), env, terms);
  return [...home, ...peers];
}

function avoided(entry: VmEntry, nowMs: number): ReadonlySet<string> {
  return new Set([...entry.avoid].filter(([, untilMs]) => untilMs > nowMs).map(([host]) => host));
}

function summaryOf(world: World, record: VmRecord): string {
  const decided = world.decisions.get(record.id);
  const reason = record.reason === undefined ? "" : `: ${record.reason}`;
  if (isFinal(record.phase)) return `it is ${record.phase}${reason}`.slice(0, 500);
  const { place } = record;
  const where = place.kind === "host" ? ` on ${place.host}` : place.kind === "peer" ? ` at ${place.peer}` : "";
  return `it is ${record.phase}${where}${reason}${decided === undefined ? "" : `; ${decided}`}`.slice(0, 500);
}

function placeCandidate({ place, phase, attempt }: VmRecord): CandidateView[] {
  if (isFinal(phase) || place.kind === "none") return [];
  const name = place.kind === "host" ? place.host : place.peer;
  // Only what runs has a lease for certain: before that, and in doubt, the peer may still have to answer.
  const atPeer = ["placing", "in-doubt"].includes(phase)
    ? "its exchange with this peer is open"
    : "it has a lease there";
  const message = place.kind === "host" ? `attempt ${attempt} is there` : atPeer;
  return [{ kind: place.kind, name, verdict: "chosen", message }];
}

function reasonsLine(candidates: readonly CandidateView[]): string {
  const refused = candidates.filter(({ verdict }) => verdict === "refused").slice(0, 5);
  if (refused.length === 0) return candidates.length === 0 ? `${NOBODY} is there to take it` : "others wait before it";
  return refused
    .map(({ name, message }) => `${name}: ${message}`)
    .join("; ")
    .slice(0, 400);
}
