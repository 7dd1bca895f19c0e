/**
 * A site on a virtual clock for tests: one real core, a store in memory, and hosts that follow the rules of the
 * protocol. What is lost or doubled is scripted.
 */
import { seededRng } from "@muster/base";
import { createBorrower, createLender, type Ledger, type Peering } from "@muster/broker";
import { type VmCreateInput, vmCreateSchema } from "@muster/protocol";
import type { Core, SitePolicy } from "./core.ts";
import { createCore } from "./create-core.ts";
import type { Answer, CoreEffect } from "./effect.ts";
import type { Actor, CoreEvent } from "./event.ts";
import type { RecordChange } from "./records.ts";
import type { ScriptedHost } from "./scripted-host.fixture.ts";

export const ADMIN: Actor = { user: "root", role: "admin", projects: ["*"] };
export const ANN: Actor = { user: "ann", role: "user", projects: ["default"] };
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

type Message =
  | { readonly kind: "to-host"; readonly host: string; readonly effect: CoreEffect }
  | { readonly kind: "to-core"; readonly event: CoreEvent };

export type SiteOptions = {
  readonly policy?: Partial<SitePolicy>;
  readonly hosts?: readonly ScriptedHost[];
  readonly seed?: number;
  /** The site's ledger: none where it is left out. */
  readonly ledger?: () => Ledger;
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
  readonly #ledger: SiteOptions["ledger"];
  #ids = 0;
  #tickets = 0;
  #wire: Message[] = [];

  constructor({ policy = {}, hosts = [], seed = 1, ledger }: SiteOptions = {}) {
    this.#ledger = ledger;
    this.policy = { ...POLICY, ...policy };
    this.#rng = seededRng(seed);
    this.core = this.#makeCore();
    for (const host of hosts) this.add(host);
  }

  #makeCore(): Core {
    const core = createCore({
      policy: this.policy,
      lender: createLender(),
      borrower: createBorrower(),
      ledger: this.#ledger?.(),
    });
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
    else if (
      effect.kind === "command" ||
      effect.kind === "move" ||
      effect.kind === "tunnel" ||
      effect.kind === "hello" ||
      effect.kind === "fetch-inventory"
    )
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

  /** Of the last one who asked: its answer may come later. */
  get lastTicket(): number {
    return this.#tickets;
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
      if (effect.kind === "move") this.step(answerOf(effect, { kind: "unknown" }));
      if (effect.kind === "tunnel") this.step(tunnelAnswer(effect, { kind: "unknown" }));
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
    } else if (effect.kind === "tunnel") {
      const end = host.tunnels.take(effect.order);
      this.#wire.push({
        kind: "to-core",
        event: tunnelAnswer(effect, this.#chance(this.loss) ? { kind: "unknown" } : end),
      });
    } else if (effect.kind === "move") {
      const end = host.mover.take(effect.move);
      // A host keeps the question open as long as the step is under way.
      if (end === undefined) return;
      this.#wire.push({
        kind: "to-core",
        event: answerOf(effect, this.#chance(this.loss) ? { kind: "unknown" } : end),
      });
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

function tunnelAnswer(
  { host, side, says }: Extract<CoreEffect, { kind: "tunnel" }>,
  end: Extract<CoreEvent, { kind: "tunnel-answered" }>["end"],
): CoreEvent {
  return { kind: "tunnel-answered", host, side, says, end };
}

function answerOf(
  { host, move }: Extract<CoreEffect, { kind: "move" }>,
  end: Extract<CoreEvent, { kind: "move-answered" }>["end"],
): CoreEvent {
  return { kind: "move-answered", host, vm: move.vm, id: move.id, step: move.step, end };
}
