/**
 * A site on a virtual clock for tests: one real core, a store in memory, and hosts that follow the rules of the protocol
 * (attempt rule, fence, one effect per command id, notices until acknowledged). What is lost or doubled is scripted.
 */
import { seededRng } from "@muster/base";
import { createBorrower, createLender, type Peering } from "@muster/broker";
import {
  type Capacity,
  type Command,
  type CommandOutcome,
  digestOf,
  type HostVm,
  type Notice,
  type Resources,
  resourcesOf,
  subtract,
  sum,
  type VmCreateInput,
  vmCreateSchema,
} from "@muster/protocol";
import { isAlive } from "../dispatch/next-order.ts";
import type { Core, SitePolicy } from "./core.ts";
import { createCore } from "./create-core.ts";
import type { Answer, CoreEffect } from "./effect.ts";
import type { Actor, CommandEnd, CoreEvent } from "./event.ts";
import type { RecordChange } from "./records.ts";

export const ADMIN: Actor = { user: "root", role: "admin", projects: ["*"] };
export const ANN: Actor = { user: "ann", role: "user", projects: ["default"] };
export const HOST_SIZE: Resources = { vcpus: 8, memoryMiB: 16_384, diskGiB: 200, gpus: 0 };
export const SMALL = { image: "debian-12", vcpus: 2, memoryMiB: 1_024, diskGiB: 10 };
export const KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

export const POLICY: SitePolicy = {
  domain: "alpha.test",
  manager: "a",
  term: 1,
  agent: "muster 0.1.0",
  images: [{ tag: "debian-12", digest: `sha256:${"a".repeat(64)}` }, { tag: "alpine-3" }],
  overcommit: { vcpus: 1, memory: 1 },
  queueMax: 1_000,
  vmsMax: 5_000,
  quotas: {},
  peerings: [],
  weights: {},
  timing: {
    suspectAfterMissed: 3,
    lostAfterMissed: 6,
    settleMs: 3_000,
    commandTimeoutMs: 1_000,
    leaseGraceMs: 10_000,
    rememberMs: 600_000,
  },
};

export function peering(domain: string, part: Partial<Peering> = {}): Peering {
  const lend = { accept: true, share: 1, leaseMsMax: 600_000, vmsMax: 100, images: [] };
  return { domain, publicKey: KEY, lend, borrow: true, state: "active", ...part };
}

/** A host as the protocol wants it: what it stored survives `boot`. */
export class ScriptedHost {
  readonly name: string;
  readonly total: Resources;
  readonly attempts = new Map<string, HostVm & { readonly spec?: Resources }>();
  /** Attempts that ever had a domain here, for H5. */
  readonly started: string[] = [];
  up = true;
  bootId = "";
  term = 0;
  #sequence = 0;
  #answers = new Map<string, CommandEnd>();
  #notices = new Map<string, Notice>();
  #noticeSequence = 0;
  /** Work taken and not done yet: a start, or the like. */
  readonly work = new Map<string, Command>();

  constructor(name: string, total: Resources = HOST_SIZE) {
    this.name = name;
    this.total = total;
  }

  boot(bootId: string): void {
    this.up = true;
    this.bootId = bootId;
    this.#sequence = 0;
  }

  get used(): Resources {
    return sum([...this.attempts.values()].filter(({ state }) => isAlive(state)).flatMap(({ spec }) => spec ?? []));
  }

  capacity(part: Partial<Capacity> = {}): Capacity {
    this.#sequence += 1;
    const { bootId, total, used } = this;
    return {
      bootId,
      sequence: this.#sequence,
      heartbeatMs: 1_000,
      termObeyed: this.term,
      total,
      reserved: { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 },
      used,
      vms: this.attempts.size,
      foreignVms: 0,
      condition: "accepting",
      driver: "simulated",
      hypervisor: "simulated 1",
      agent: "muster 0.1.0",
      labels: {},
      images: [],
      inventoryDigest: this.digest(),
      ...part,
    };
  }

  list(): HostVm[] {
    return [...this.attempts.values()]
      .map(({ spec: _, ...entry }) => entry)
      .sort((left, right) => (left.vm < right.vm ? -1 : 1));
  }

  digest(): string {
    return digestOf(this.list());
  }

  notices(): Notice[] {
    return [...this.#notices.values()].sort((left, right) => left.sequence - right.sequence);
  }

  taken(sequence: number): void {
    for (const [vm, notice] of this.#notices) if (notice.sequence <= sequence) this.#notices.delete(vm);
  }

  /** Takes a command as a host manager does: stored, answered with the state as it is, acted on later. */
  command(command: Command): CommandEnd {
    if (command.term < this.term) return refuse("stale-term", "stale-term");
    this.term = command.term;
    const known = this.#answers.get(command.id);
    if (known !== undefined) return known;
    const end = this.#decide(command);
    this.#answers.set(command.id, end);
    return end;
  }

  /** Does what was taken. */
  act(): void {
    for (const command of this.work.values()) {
      const known = this.attempts.get(command.vm);
      if (known === undefined || known.attempt !== command.attempt || !isAlive(known.state)) continue;
      const state = ACTED[command.action];
      if (state === undefined) continue;
      this.#tell({ ...known, state, ...(state === "running" ? { address: "192.0.2.7" } : {}) });
    }
    this.work.clear();
  }

  /** The machine lost its power: no domain is left, and the host says so when it is back. */
  powerOff(): void {
    this.up = false;
    for (const entry of [...this.attempts.values()]) if (isAlive(entry.state)) this.fail(entry.vm, "failed");
    this.work.clear();
  }

  /** The machine comes back with an empty disk: no domain, and no memory of any attempt. */
  loseDisk(): void {
    this.powerOff();
    this.attempts.clear();
    this.#answers.clear();
    this.#notices.clear();
    this.term = 0;
  }

  /** A start that libvirt refuses, or a domain that went away. */
  fail(vm: string, state: "failed" | "stopped" | "gone" = "failed"): void {
    this.work.delete(vm);
    const known = this.attempts.get(vm);
    if (known !== undefined) this.#tell({ ...known, state, reason: "no such luck" });
  }

  #tell(entry: HostVm & { readonly spec?: Resources }): void {
    this.attempts.set(entry.vm, entry);
    this.#noticeSequence += 1;
    const { spec: _, ...notice } = entry;
    this.#notices.set(entry.vm, { ...notice, sequence: this.#noticeSequence });
  }

  #decide(command: Command): CommandEnd {
    const { vm, attempt, action } = command;
    const known = this.attempts.get(vm);
    const live = known !== undefined && isAlive(known.state);
    if (action === "settle") {
      if (live) return stands(command, known.state);
      this.attempts.delete(vm);
      return stands(command, known?.state ?? "gone");
    }
    if (known !== undefined && attempt < known.attempt) return stands(command, "void");
    const same = known?.attempt === attempt;
    if (action === "start") return this.#start(command, known);
    if (action === "void" || action === "delete") {
      if (!same) {
        if (live) return refuse("conflict", "attempt-live");
        this.attempts.set(vm, { vm, attempt, state: "void" });
        return stands(command, "void");
      }
      if (live && action === "delete") this.work.set(vm, command);
      return stands(command, known.state);
    }
    if (!same || !live) return refuse("item-not-found", "unknown-vm");
    this.work.set(vm, command);
    return stands(command, known.state);
  }

  #start(command: Command, known: (HostVm & { readonly spec?: Resources }) | undefined): CommandEnd {
    const { vm, attempt, subject } = command;
    if (subject === undefined) return refuse("bad-request", "invalid");
    if (known?.attempt === attempt) {
      if (known.state !== "stopped") return stands(command, known.state);
      this.attempts.set(vm, { ...known, state: "starting" });
      this.work.set(vm, command);
      return stands(command, "starting");
    }
    if (known !== undefined && isAlive(known.state)) return refuse("conflict", "attempt-live");
    const spec = resourcesOf(subject.spec);
    const free = subtract(this.total, this.used);
    if (free.vcpus < spec.vcpus || free.memoryMiB < spec.memoryMiB || free.diskGiB < spec.diskGiB) {
      this.attempts.set(vm, { vm, attempt, state: "void" });
      return refuse("resource-constraint", "no-capacity");
    }
    this.attempts.set(vm, { vm, attempt, state: "starting", spec });
    this.started.push(`${vm}/${attempt}`);
    this.work.set(vm, command);
    return stands(command, "starting");
  }
}

const ACTED: Partial<Record<Command["action"], HostVm["state"]>> = {
  start: "running",
  resume: "running",
  reboot: "running",
  stop: "stopped",
  suspend: "paused",
  delete: "gone",
};

function stands({ id, vm, attempt }: Command, state: HostVm["state"]): CommandEnd {
  const outcome: CommandOutcome = { id, vm, attempt, state };
  return { kind: "outcome", outcome };
}

function refuse(
  kind: "stale-term" | "conflict" | "item-not-found" | "bad-request" | "resource-constraint",
  reason: string,
) {
  return { kind: "refused", refusal: { kind, reason, message: `${reason} here` } } as const;
}

type Message =
  | { readonly kind: "to-host"; readonly host: string; readonly effect: CoreEffect }
  | { readonly kind: "to-core"; readonly event: CoreEvent };

export type SiteOptions = {
  readonly policy?: Partial<SitePolicy>;
  readonly hosts?: readonly ScriptedHost[];
  readonly seed?: number;
};

/** One site with its hosts. `settle` lets everything that is under way come to its end. */
export class ScriptedSite {
  readonly policy: SitePolicy;
  readonly hosts = new Map<string, ScriptedHost>();
  readonly store = new Map<string, unknown>();
  readonly answers = new Map<number, Answer>();
  readonly effects: CoreEffect[] = [];
  /** Messages to other sites, for a test that has several. */
  readonly outward: CoreEffect[] = [];
  core: Core;
  nowMs = 1_700_000_000_000;
  /** Looked at after every step. */
  check: (step: { readonly changes: readonly RecordChange[]; readonly effects: readonly CoreEffect[] }) => void =
    () => {};
  /** Chance that a message between hosts and core is lost, or comes twice. */
  loss = 0;
  duplicates = 0;
  /** Chance that the manager dies in a step: before it stored the changes, or after that with no effect carried out. */
  crashes = 0;
  /** Whether the site's link is there: without it nothing passes between core and hosts. */
  online = true;
  readonly #rng;
  #ids = 0;
  #tickets = 0;
  #wire: Message[] = [];

  constructor({ policy = {}, hosts = [], seed = 1 }: SiteOptions = {}) {
    this.policy = { ...POLICY, ...policy };
    this.#rng = seededRng(seed);
    this.core = this.#makeCore();
    for (const host of hosts) this.add(host);
  }

  #makeCore(): Core {
    const core = createCore({ policy: this.policy, lender: createLender(), borrower: createBorrower() });
    core.load(JSON.parse(JSON.stringify([...this.store])));
    return core;
  }

  newId(): string {
    this.#ids += 1;
    const site = this.policy.domain.charCodeAt(0).toString(16).padStart(4, "0");
    return `01900000-${site}-7000-8000-${this.#ids.toString(16).padStart(12, "0")}`;
  }

  add(host: ScriptedHost): void {
    this.hosts.set(host.name, host);
    host.boot(this.newId());
    this.ask({ kind: "host-add", actor: ADMIN, host: host.name });
    this.step({ kind: "host-capacity", host: host.name, capacity: host.capacity() });
    this.flow();
  }

  setLink(online: boolean): void {
    this.online = online;
    if (!online) this.#wire = [];
    this.step({ kind: "link", online });
  }

  /** The manager dies with all that it had not stored or sent, and starts again from the store. */
  restart(): void {
    this.#wire = this.#wire.filter(({ kind }) => kind === "to-host");
    this.core = this.#makeCore();
    this.step({ kind: "link", online: this.online });
  }

  step(event: CoreEvent): void {
    const step = this.core.step(event, { nowMs: this.nowMs, newId: () => this.newId() });
    const unstored = this.#chance(this.crashes) && this.#chance(0.5);
    for (const change of unstored ? [] : step.changes) {
      if (change.kind === "put") this.store.set(change.key, JSON.parse(JSON.stringify(change.value)));
      else this.store.delete(change.key);
    }
    this.check(step);
    if (unstored || this.#chance(this.crashes)) {
      this.restart();
      return;
    }
    for (const effect of step.effects) this.#carry(effect);
  }

  #carry(effect: CoreEffect): void {
    this.effects.push(effect);
    if (this.effects.length > 5_000) this.effects.splice(0, 2_500);
    if (effect.kind === "answer") this.answers.set(effect.ticket, effect.answer);
    else if (effect.kind === "command" || effect.kind === "hello" || effect.kind === "fetch-inventory")
      this.#wire.push({ kind: "to-host", host: effect.host, effect });
    else if (effect.kind === "peer-send" || effect.kind === "peer-notify") this.outward.push(effect);
  }

  /** Hands in an event with a ticket and returns its answer. */
  ask<Kind extends CoreEvent["kind"]>(
    event: Omit<Extract<CoreEvent, { kind: Kind; ticket: number }>, "ticket"> & { readonly kind: Kind },
  ): Answer | undefined {
    this.#tickets += 1;
    const ticket = this.#tickets;
    const asked: unknown = { ...event, ticket };
    this.step(asked as CoreEvent);
    return this.answers.get(ticket);
  }

  create(input: Partial<VmCreateInput> & { readonly name: string }, requestId = `r-${input.name}`, actor: Actor = ANN) {
    const create = vmCreateSchema.parse({ spec: SMALL, ...input });
    return this.ask({ kind: "request", actor, requestId, create });
  }

  /** The VM of that name, also when it has ended. */
  vm(name: string) {
    const all = this.core.views.vms().filter((vm) => vm.name === name);
    const vm = all.at(-1);
    if (vm === undefined) throw new Error(`no VM ${name}`);
    return vm;
  }

  /** Delivers what is on the wire, and what follows from it, without time passing. */
  flow(): void {
    for (let rounds = 0; rounds < 200; rounds += 1) {
      const wire = this.#wire;
      this.#wire = [];
      for (const message of wire) this.#deliver(message);
      for (const host of this.hosts.values()) if (host.up) this.#hostTurn(host);
      if (this.#wire.length === 0) return;
    }
    throw new Error("the site does not come to rest");
  }

  #hostTurn(host: ScriptedHost): void {
    const taken = host.work.size;
    if (taken > 0) host.act();
    if (host.work.size < taken) {
      this.#send({ kind: "to-core", event: { kind: "host-capacity", host: host.name, capacity: host.capacity() } });
    }
    const notices = host.notices().slice(0, 50);
    if (notices.length === 0 || !this.online || this.#chance(this.loss)) return;
    const { name, bootId } = host;
    const answer = this.ask({ kind: "host-notices", host: name, bootId, notices });
    if (answer?.kind === "notices-taken" && !this.#chance(this.loss)) host.taken(answer.sequence);
  }

  #chance(share: number): boolean {
    return share > 0 && this.#rng.next() < share;
  }

  #send(message: Message): void {
    if (!this.online || this.#chance(this.loss)) return;
    this.#wire.push(message);
    if (this.#chance(this.duplicates)) this.#wire.push(message);
  }

  #deliver(message: Message): void {
    if (message.kind === "to-core") {
      this.step(message.event);
      return;
    }
    const host = this.hosts.get(message.host);
    const { effect } = message;
    if (host === undefined || !host.up || !this.online || this.#chance(this.loss)) {
      // Nobody answers: the shell's time for it runs out.
      if (effect.kind === "command")
        this.step({ kind: "command-ended", host: effect.host, command: effect.command.id, end: { kind: "unknown" } });
      return;
    }
    this.#reach(host, effect);
    if (this.#chance(this.duplicates)) this.#reach(host, effect);
  }

  #reach(host: ScriptedHost, effect: CoreEffect): void {
    const { name, bootId } = host;
    if (effect.kind === "hello") {
      host.term = Math.max(host.term, this.policy.term);
      this.#send({
        kind: "to-core",
        event: { kind: "host-welcome", host: name, welcome: { term: host.term, bootId } },
      });
    } else if (effect.kind === "fetch-inventory") {
      const event = { kind: "host-inventory", host: name, bootId, digest: host.digest(), vms: host.list() } as const;
      this.#send({ kind: "to-core", event });
    } else if (effect.kind === "command") {
      const end = host.command(effect.command);
      const lost = this.#chance(this.loss);
      const event = { kind: "command-ended", host: name, command: effect.command.id } as const;
      this.#wire.push({ kind: "to-core", event: { ...event, end: lost ? { kind: "unknown" } : end } });
    }
  }

  /** Time passes: hosts are heard, ticks come when they are due. */
  advance(durationMs: number): void {
    const endMs = this.nowMs + durationMs;
    while (this.nowMs < endMs) {
      const dueMs = Math.max(this.nowMs + 1, this.core.nextDueMs(this.nowMs));
      this.nowMs = Math.min(endMs, dueMs, this.nowMs - (this.nowMs % 500) + 500);
      if (this.nowMs % 500 === 0)
        for (const host of this.hosts.values())
          if (host.up)
            this.#send({
              kind: "to-core",
              event: { kind: "host-capacity", host: host.name, capacity: host.capacity() },
            });
      this.step({ kind: "tick" });
      this.flow();
    }
  }
}
