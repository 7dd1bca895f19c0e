/** Every kind of fault: what it does to which part, and how it is undone. */
import type { Rng } from "@muster/base";
import type { HostRun } from "@muster/federation";
import type { Rig, RigSite, Way } from "./rig.ts";
import type { RelayMode } from "./tcp-relay.ts";

/** A fault that was put in: what it hit, and what undoes it, where it does not end by itself. */
export type Injected = { readonly target: string; readonly durationMs: number; readonly undo: () => void };

export type FaultKind = {
  readonly name: string;
  /** How often it is drawn beside the others. */
  readonly weight: number;
  /** Least time between two of them at one target: the supervisor gives up on what dies too often. */
  readonly restMs: number;
  /** `undefined` where there is nothing to hit at the moment. */
  readonly inject: (hit: Hit) => Promise<Injected | undefined>;
};

/** What a fault may hit: drawn before it is known which kind it is, so that a seed hits the same parts. */
export type Hit = {
  readonly rig: Rig;
  readonly site: RigSite;
  readonly host: HostRun;
  readonly manager: string;
  readonly rng: Rng;
  /** Whether the target has rested since it was hit last. */
  readonly rested: (target: string) => boolean;
};

/** One target for all members: two of three at once would be a store without quorum, which is no fault of a part. */
const ONE_MEMBER = "etcd member";
const NOTHING = (): void => {};

export const FAULT_KINDS: readonly FaultKind[] = [
  { name: "leader killed", weight: 5, restMs: 4_000, inject: (hit) => ofLeader(hit, killManager) },
  { name: "leader hung", weight: 4, restMs: 4_000, inject: (hit) => ofLeader(hit, hangManager) },
  { name: "manager killed", weight: 2, restMs: 4_000, inject: (hit) => killManager(hit, hit.manager) },
  { name: "manager hung", weight: 2, restMs: 4_000, inject: (hit) => hangManager(hit, hit.manager) },
  { name: "leader stepped down", weight: 2, restMs: 4_000, inject: stepDown },
  { name: "host manager killed", weight: 5, restMs: 3_000, inject: killHostManager },
  { name: "host manager hung", weight: 4, restMs: 3_000, inject: hangHostManager },
  { name: "libvirtd killed", weight: 2, restMs: 20_000, inject: (hit) => signalLibvirtd(hit, "SIGKILL") },
  { name: "libvirtd hung", weight: 3, restMs: 5_000, inject: (hit) => signalLibvirtd(hit, "SIGSTOP") },
  { name: "XMPP server killed", weight: 2, restMs: 20_000, inject: (hit) => signalServer(hit, "SIGKILL") },
  { name: "XMPP server stopped", weight: 1, restMs: 20_000, inject: (hit) => signalServer(hit, "SIGTERM") },
  { name: "XMPP server hung", weight: 2, restMs: 8_000, inject: (hit) => signalServer(hit, "SIGSTOP") },
  { name: "sites cut off", weight: 3, restMs: 2_000, inject: (hit) => relay(hit, "peers", { kind: "cut" }, 15_000) },
  { name: "sites silent", weight: 3, restMs: 2_000, inject: (hit) => relay(hit, "peers", { kind: "hold" }, 12_000) },
  { name: "sites slow", weight: 2, restMs: 2_000, inject: (hit) => relay(hit, "peers", late(hit.rng, 1_500), 10_000) },
  { name: "sites' connections reset", weight: 2, restMs: 1_000, inject: (hit) => reset(hit, "peers") },
  { name: "hosts cut off", weight: 2, restMs: 4_000, inject: (hit) => relay(hit, "hosts", { kind: "cut" }, 8_000) },
  { name: "hosts silent", weight: 2, restMs: 4_000, inject: (hit) => relay(hit, "hosts", { kind: "hold" }, 8_000) },
  { name: "hosts slow", weight: 2, restMs: 4_000, inject: (hit) => relay(hit, "hosts", late(hit.rng, 800), 8_000) },
  { name: "hosts' connections reset", weight: 2, restMs: 1_000, inject: (hit) => reset(hit, "hosts") },
  {
    name: "managers silent",
    weight: 2,
    restMs: 4_000,
    inject: (hit) => relay(hit, "managers", { kind: "hold" }, 5_000),
  },
  {
    name: "managers slow",
    weight: 1,
    restMs: 4_000,
    inject: (hit) => relay(hit, "managers", late(hit.rng, 300), 5_000),
  },
  { name: "managers' connections reset", weight: 2, restMs: 1_000, inject: (hit) => reset(hit, "managers") },
];

/** Beside the others where etcd is the store. */
export const ETCD_FAULT_KINDS: readonly FaultKind[] = [
  { name: "etcd member killed", weight: 3, restMs: 6_000, inject: (hit) => killMember(hit) },
  { name: "etcd member hung", weight: 3, restMs: 6_000, inject: hangMember },
  { name: "etcd's leader killed", weight: 2, restMs: 6_000, inject: killEtcdLeader },
];

function late(rng: Rng, delayMsMax: number): RelayMode {
  return { kind: "delay", delayMs: 20 + rng.int(delayMsMax) };
}

async function ofLeader(
  hit: Hit,
  inject: (hit: Hit, manager: string) => Promise<Injected | undefined>,
): Promise<Injected | undefined> {
  const leader = await hit.site.run.leader();
  return leader === undefined ? undefined : inject(hit, leader);
}

async function killManager({ site, rng, rested }: Hit, name: string): Promise<Injected | undefined> {
  const manager = site.run.managers.get(name);
  const target = `${site.run.plan.name} manager ${name}`;
  if (manager?.pid === undefined || !rested(target)) return undefined;
  const durationMs = 100 + rng.int(3_000);
  manager.crash(durationMs);
  return { target, durationMs, undo: NOTHING };
}

/** Whoever stands by ends a leader that hangs for longer than a second; then it is down for a while. */
async function hangManager({ rig, site, rng, rested }: Hit, name: string): Promise<Injected | undefined> {
  const manager = site.run.managers.get(name);
  const target = `${site.run.plan.name} manager ${name}`;
  const pid = manager?.pid;
  if (manager === undefined || pid === undefined || !rested(target)) return undefined;
  const durationMs = 100 + rng.int(4_000);
  manager.hang(500);
  return { target, durationMs, undo: () => void rig.signal(pid, "SIGCONT") };
}

async function stepDown({ rig, site, rested }: Hit): Promise<Injected | undefined> {
  const target = `${site.run.plan.name} lead`;
  if (!rested(target)) return undefined;
  const done = await rig.client(site, 1_000).stepDown();
  return done.ok ? { target, durationMs: 0, undo: NOTHING } : undefined;
}

async function killHostManager({ host, rng, rested }: Hit): Promise<Injected | undefined> {
  const target = `${host.name} host manager`;
  if (host.manager.pid === undefined || !rested(target)) return undefined;
  const durationMs = 50 + rng.int(4_000);
  host.manager.crash(durationMs);
  return { target, durationMs, undo: NOTHING };
}

async function hangHostManager({ rig, host, rng, rested }: Hit): Promise<Injected | undefined> {
  const target = `${host.name} host manager`;
  const { pid } = host.manager;
  if (!rested(target) || !rig.signal(pid, "SIGSTOP")) return undefined;
  return { target, durationMs: 200 + rng.int(10_000), undo: () => void rig.signal(pid, "SIGCONT") };
}

/** Killed, it loses its domains: the test driver keeps them in its memory. To the site it is a machine without power. */
async function signalLibvirtd(
  { rig, host, rng, rested }: Hit,
  signal: "SIGKILL" | "SIGSTOP",
): Promise<Injected | undefined> {
  const target = `${host.name} libvirtd`;
  const pid = host.hypervisorPid;
  if (!rested(target) || !rig.signal(pid, signal)) return undefined;
  return { target, durationMs: 200 + rng.int(8_000), undo: () => void rig.signal(pid, "SIGCONT") };
}

async function signalServer(
  { rig, site, rng, rested }: Hit,
  signal: "SIGKILL" | "SIGTERM" | "SIGSTOP",
): Promise<Injected | undefined> {
  const target = `${site.run.plan.name} XMPP server`;
  const pid = site.run.serverPid;
  if (!rested(target) || !rig.signal(pid, signal)) return undefined;
  return { target, durationMs: 200 + rng.int(6_000), undo: () => void rig.signal(pid, "SIGCONT") };
}

async function relay(
  { site, rng, rested }: Hit,
  way: Way,
  mode: RelayMode,
  msMax: number,
): Promise<Injected | undefined> {
  const target = `${site.run.plan.name} ${way}`;
  if (!rested(target)) return undefined;
  const one = site.relays[way];
  one.mode = mode;
  return {
    target,
    durationMs: 200 + rng.int(msMax),
    undo: () => {
      one.mode = { kind: "pass" };
    },
  };
}

async function reset({ site, rested }: Hit, way: Way): Promise<Injected | undefined> {
  const target = `${site.run.plan.name} ${way}`;
  if (!rested(target)) return undefined;
  site.relays[way].drop();
  return { target, durationMs: 0, undo: NOTHING };
}

async function killMember({ rig, rng, rested }: Hit, leader?: string): Promise<Injected | undefined> {
  const members = [...(rig.etcd?.members ?? [])];
  const drawn = members[rng.int(Math.max(1, members.length))]?.[0];
  const member = members.find(([one]) => one === (leader ?? drawn))?.[1];
  if (member?.pid === undefined || !rested(ONE_MEMBER)) return undefined;
  const durationMs = 200 + rng.int(4_000);
  member.crash(durationMs);
  return { target: ONE_MEMBER, durationMs, undo: NOTHING };
}

async function killEtcdLeader(hit: Hit): Promise<Injected | undefined> {
  const leader = await hit.rig.etcd?.leader();
  return leader === undefined ? undefined : killMember(hit, leader);
}

async function hangMember({ rig, rng, rested }: Hit): Promise<Injected | undefined> {
  const members = [...(rig.etcd?.members.values() ?? [])];
  const pid = members[rng.int(Math.max(1, members.length))]?.pid;
  if (!rested(ONE_MEMBER) || !rig.signal(pid, "SIGSTOP")) return undefined;
  return { target: ONE_MEMBER, durationMs: 200 + rng.int(4_000), undo: () => void rig.signal(pid, "SIGCONT") };
}
