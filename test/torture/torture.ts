import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, type Rng, seededRng, systemClock } from "@muster/base";
import { stateFolder } from "@muster/federation";
import { checkHistory, type Violation } from "./check-history.ts";
import { FaultDriver } from "./fault-driver.ts";
import { type FinalDomains, readHosts, readSites } from "./final-state.ts";
import type { FinalDomain, History, Wait } from "./history.ts";
import { HostObserver } from "./host-observer.ts";
import { untilCalm, waitsOf } from "./quiescence.ts";
import { Rig } from "./rig.ts";
import { User } from "./user.ts";

export type TortureOptions = {
  readonly seed: number;
  readonly durationMs: number;
  readonly loopback: number;
  readonly usersPerSite: number;
  readonly store: "level" | "etcd";
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

export type TortureEnd = {
  readonly violations: readonly Violation[];
  readonly faults: ReadonlyMap<string, number>;
  readonly history: History;
  readonly figures: Readonly<Record<string, number>>;
  /** How long it took to come to rest after the last fault. */
  readonly calmMs: number;
  /** The state folder with stores, journals and logs; removed already where nothing was found. */
  readonly state: string;
};

const HOSTS_PER_SITE = 2;
const HOST_VCPUS = 20;
const HOST_MEMORY_MIB = 16_384;
/** What libvirt's test driver runs from the start. */
const FOREIGN = { vcpus: 2, memoryMiB: 8_192 };
const VMS_PER_USER = 9;
const CALM_WITHIN_MS = 120_000;
const FAULT_PAUSE_MS_MAX = 3_000;

/** One run: a federation under load and faults, healed, brought to rest, stopped, and judged by its history. */
export async function torture(options: TortureOptions): Promise<TortureEnd> {
  const clock = systemClock;
  const rng = seededRng(options.seed);
  const rig = await Rig.start({
    clock,
    rng: seededRng(rng.int(2 ** 31)),
    loopback: options.loopback,
    hostsPerSite: HOSTS_PER_SITE,
    hostVcpus: HOST_VCPUS,
    store: options.store,
    say: options.say,
    signal: options.signal,
  });
  let keep = true;
  try {
    const end = await run(rig, options, clock, rng);
    keep = end.violations.length > 0;
    return end;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${message}; stores, journals and logs are in ${rig.state}`, { cause });
  } finally {
    await rig.stop();
    if (!keep) rig.remove();
  }
}

async function run(
  rig: Rig,
  { say, signal, durationMs, usersPerSite }: TortureOptions,
  clock: Clock,
  rng: Rng,
): Promise<TortureEnd> {
  const journal = journalOf(rig);
  const observers = observe(rig);
  const users = usersOf(rig, usersPerSite, clock, rng, journal);
  const faults = new FaultDriver({
    rig,
    rng: seededRng(rng.int(2 ** 31)),
    clock,
    pauseMsMax: FAULT_PAUSE_MS_MAX,
    log: (entry) => journal("faults", entry),
  });
  const domains = new Map<string, readonly FinalDomain[]>();
  const violations: Violation[] = [];
  let waits: readonly Wait[] = [];
  let calmMs = 0;
  try {
    const over = new AbortController();
    const cancel = clock.setTimer(durationMs, () => over.abort());
    const work = AbortSignal.any([over.signal, signal]);
    say(`under load and faults for ${Math.round(durationMs / 1_000)} s`);
    await Promise.all([...users.map((user) => user.work(work)), faults.work(work)]);
    cancel();
    faults.heal();
    if (signal.aborted) throw new Error("interrupted");
    say("healed; waiting until everything rests");
    const healedMs = clock.nowMs();
    const rested = await rest(rig, users, clock, signal);
    if (signal.aborted) throw new Error("interrupted");
    violations.push(...rested.violations);
    waits = rested.waits;
    calmMs = clock.nowMs() - healedMs;
    for (const [name, observer] of observers) domains.set(name, await observer.domains());
  } finally {
    faults.heal();
    await Promise.all([...observers.values()].map((observer) => observer.stop()));
  }
  await rig.stopManagers();
  const history = await historyOf(rig, users, observers, domains, waits);
  violations.push(
    ...rig.givenUp.map(({ name, how }) => ({ claim: "supervisor", what: `${name} was given up: ${how}` })),
  );
  violations.push(...checkHistory(history));
  if (violations.length > 0) writeFileSync(join(rig.state, "history.json"), JSON.stringify(history, null, 1));
  return { violations, faults: faults.counts, history, figures: figuresOf(users, history), calmMs, state: rig.state };
}

type Rested = { readonly violations: readonly Violation[]; readonly waits: readonly Wait[] };

/**
 * Every open question answered, nothing under way any more, and every accepted request said once more. What waits then is
 * asked for its reason and withdrawn: it would go on looking for a place, and find one while the site is being judged.
 */
async function rest(rig: Rig, users: readonly User[], clock: Clock, signal: AbortSignal): Promise<Rested> {
  const deadlineMs = clock.nowMs() + CALM_WITHIN_MS;
  const waits = new Map<string, Wait>();
  let left = 0;
  let unrest: string | undefined;
  for (let last: readonly Wait[] | undefined; last?.length !== 0; ) {
    left = await settle(users);
    while (left > 0 && clock.nowMs() < deadlineMs && !signal.aborted) left = await settle(users);
    unrest = await untilCalm(rig, clock, Math.max(1_000, deadlineMs - clock.nowMs()), signal);
    if (unrest !== undefined || signal.aborted) break;
    last = await waitsOf(rig);
    for (const wait of last) waits.set(wait.vm, wait);
    const waiting = new Set(last.map(({ vm }) => vm));
    await Promise.all(users.map((user) => user.withdraw(waiting)));
  }
  await Promise.all(users.map((user) => user.repeatAll()));
  const violations: Violation[] = [];
  if (left > 0) violations.push({ claim: "P3", what: `${left} questions stay without an answer after all faults` });
  if (unrest !== undefined) violations.push({ claim: "P3", what: `no rest after all faults: ${unrest}` });
  return { violations, waits: [...waits.values()] };
}

async function settle(users: readonly User[]): Promise<number> {
  const left = await Promise.all(users.map((user) => user.settle()));
  return left.reduce((sum, one) => sum + one, 0);
}

type Journal = (name: string, entry: object) => void;

/** One file of lines a subject, in the folder of the processes' logs. */
function journalOf(rig: Rig): Journal {
  const { logs } = stateFolder(rig.state);
  mkdirSync(logs, { recursive: true });
  return (name, entry) => appendFileSync(join(logs, `${name}.jsonl`), `${JSON.stringify(entry)}\n`);
}

function observe(rig: Rig): ReadonlyMap<string, HostObserver> {
  const observers = new Map<string, HostObserver>();
  for (const { run: site } of rig.sites)
    for (const { name: host } of site.plan.hosts) {
      const { hypervisor } = stateFolder(rig.state).site(site.plan.name).host(host);
      const observer = new HostObserver({
        site: site.plan.name,
        host,
        socketPath: join(hypervisor, "run", "libvirt-sock"),
        vcpus: HOST_VCPUS - FOREIGN.vcpus,
        memoryMiB: HOST_MEMORY_MIB - FOREIGN.memoryMiB,
      });
      observer.start();
      observers.set(`${site.plan.name}/${host}`, observer);
    }
  return observers;
}

function usersOf(rig: Rig, perSite: number, clock: Clock, rng: Rng, journal: Journal): readonly User[] {
  return rig.sites.flatMap((site) =>
    Array.from({ length: perSite }, (_, index) => {
      const name = `${site.run.plan.name}-user${index + 1}`;
      return new User({
        name,
        site: site.run.plan.name,
        client: rig.client(site),
        rng: seededRng(rng.int(2 ** 31)),
        clock,
        vmsMax: VMS_PER_USER,
        log: (entry) => journal(name, entry),
      });
    }),
  );
}

async function historyOf(
  rig: Rig,
  users: readonly User[],
  observers: ReadonlyMap<string, HostObserver>,
  domains: FinalDomains,
  waits: readonly Wait[],
): Promise<History> {
  const seen = [...observers.values()];
  return {
    requests: users.flatMap(({ requests }) => requests),
    deletes: users.flatMap(({ deletes }) => deletes),
    runs: seen.flatMap(({ runs }) => runs),
    overcommitted: seen.flatMap(({ overcommitted }) => overcommitted),
    waits,
    hosts: await readHosts(rig, domains),
    sites: await readSites(rig),
  };
}

function figuresOf(users: readonly User[], { runs, sites, hosts, waits }: History): Record<string, number> {
  const sum = (pick: (user: User) => number): number => users.reduce((total, user) => total + pick(user), 0);
  const phases = sites.flatMap(({ vms }) => vms.filter(({ origin }) => origin === "local").map(({ phase }) => phase));
  const phase = (name: string): number => phases.filter((one) => one === name).length;
  return {
    asked: sum(({ figures }) => figures.asked),
    repeated: sum(({ figures }) => figures.repeated),
    accepted: sum(({ figures }) => figures.accepted),
    refused: sum(({ figures }) => figures.refused),
    deletes: sum(({ figures }) => figures.deleted),
    unanswered: sum(({ figures }) => figures.unanswered),
    vms: phases.length,
    running: phase("running"),
    deleted: phase("deleted") + phase("cancelled"),
    waiting: waits.length,
    expired: phase("expired"),
    refusedVms: phase("refused"),
    starts: runs.length,
    leases: sites.reduce((total, { borrowed }) => total + borrowed.length, 0),
    open: sites.reduce((total, { borrowed }) => total + borrowed.filter(({ open }) => open).length, 0),
    terms: sites.reduce((total, { term }) => total + term, 0),
    domains: hosts.reduce((total, { domains }) => total + domains.length, 0),
  };
}
