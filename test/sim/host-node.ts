/** A host: the real core of the host manager, with a journal and a hypervisor that outlive it, and no shell. */
import {
  type Change,
  type Effect,
  type HostEvent,
  type HostState,
  initialState,
  type JournalContent,
  nextDueMs,
  type Policy,
  step,
} from "@muster/host-manager";
import { Machine } from "./machine.ts";
import type { HostMoment } from "./moment.ts";
import { hostPolicy } from "./policy.ts";
import type { HostStep } from "./ports.ts";
import type { Site } from "./site.ts";
import type { World } from "./world.ts";

type HostAnswer = Extract<Effect, { readonly kind: "answer" }>["answer"];
type Question<Kind extends HostEvent["kind"]> = Extract<HostEvent, { readonly kind: Kind }>;

const NOTICES_WITHIN_MS = 1_500;
const EMPTY_HEAD = { term: 0, revision: 0, digest: "", noticeSequence: 0, answerOrder: 0 };

export class HostNode {
  readonly name: string;
  readonly site: Site;
  readonly machine: Machine;
  /** The core's state while the process lives. */
  state: HostState | undefined;
  /** When the process began. */
  startedAtMs = 0;
  powered = true;
  paused = false;
  #stalled: (() => void)[] = [];
  #life = 0;
  #boots = 0;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #tickets = 0;
  readonly #answers = new Map<number, (answer: HostAnswer) => void>();
  readonly #policy: Policy;
  readonly #step: HostStep;
  readonly #world: World;
  /** What a restart finds: as it was stored, key by key. */
  readonly #disk = {
    head: undefined as JournalContent["head"] | undefined,
    attempts: new Map<string, JournalContent["attempts"][number]>(),
    answers: new Map<number, JournalContent["answers"][number]>(),
    notices: new Map<string, JournalContent["notices"][number]>(),
  };

  constructor(world: World, site: Site, name: string, vcpus: number) {
    this.#world = world;
    this.site = site;
    this.name = name;
    this.machine = new Machine(
      vcpus,
      world.timeline,
      world.rng,
      (change) => {
        if (change.kind === "made") world.figures.started += 1;
        const { state } = change.domain;
        world.note(this.address, () => `domain ${change.vm} ${change.kind}, ${state}, by ${change.cause}`);
        world.tell((checker) => checker.onDomain?.(this, change));
        if (change.cause === "guest") this.#tell({ kind: "hypervisor-changed" });
      },
      world.swarm.moves ? { address: addressOf(site, name), find: (address) => world.domainsAt(address) } : undefined,
    );
    if (world.swarm.foreignDomains) this.machine.addForeign();
    this.#policy = hostPolicy(world.swarm, site.domain, name);
    this.#step = world.ports.hostStep?.(step) ?? step;
  }

  get address(): string {
    return `${this.site.name}/${this.name}`;
  }

  /** The address at which it takes in guests. */
  get moveAddress(): string {
    return addressOf(this.site, this.name);
  }

  /** Which boot of the machine this is. */
  get machineBoot(): string {
    return `boot-${this.#boots}`;
  }

  get up(): boolean {
    return this.state !== undefined;
  }

  /** Highest term on the disk: what a restart will obey. */
  get termStored(): number {
    return this.#disk.head?.term ?? 0;
  }

  noticeStored(vm: string): JournalContent["notices"][number] | undefined {
    return this.#disk.notices.get(vm);
  }

  attemptStored(vm: string): JournalContent["attempts"][number] | undefined {
    return this.#disk.attempts.get(vm);
  }

  /** The process begins, from its journal. */
  start(): void {
    if (this.state !== undefined || !this.powered) return;
    const world = this.#world;
    this.#life += 1;
    this.startedAtMs = world.timeline.nowMs;
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
    const content = world.ports.journalAtStart === "empty" ? EMPTY_CONTENT : this.#content();
    this.state = initialState(content, this.#policy, world.newId(), world.timeline.nowMs, this.machineBoot);
    world.note(this.address, () => "host manager starts");
    if (!this.site.serverAway) this.#tell({ kind: "linked" });
    if (!this.machine.away) this.#tell({ kind: "hypervisor-up" });
  }

  /** The process ends at once, with all that it had not stored. */
  crash(): void {
    if (this.state === undefined) return;
    this.state = undefined;
    this.#life += 1;
    this.paused = false;
    this.#stalled = [];
    this.#answers.clear();
    this.machine.abandon();
    this.#world.note(this.address, () => "host manager crashes");
  }

  /** The disk of the machine is new; what runs on it does. Only while the process is down. */
  loseJournal(): void {
    this.#disk.head = undefined;
    for (const part of [this.#disk.attempts, this.#disk.answers, this.#disk.notices]) part.clear();
    this.#world.tell((checker) => checker.onJournalLost?.(this));
    this.#world.note(this.address, () => "loses its journal");
  }

  powerLoss(): void {
    this.powered = false;
    this.#boots += 1;
    this.crash();
    this.machine.powerLoss();
  }

  wake(): void {
    this.paused = false;
    for (const act of this.#stalled.splice(0)) act();
  }

  linkChanged(linked: boolean): void {
    this.#tell({ kind: linked ? "linked" : "unlinked" });
  }

  hypervisorAway(away: boolean): void {
    this.machine.away = away;
    this.#tell(away ? { kind: "hypervisor-down", reason: "its daemon is gone" } : { kind: "hypervisor-up" });
  }

  /** A question of a leader arrives. */
  ask<Kind extends "command" | "move" | "hello" | "inventory">(
    question: Omit<Question<Kind>, "ticket"> & { readonly kind: Kind },
    answered: (answer: HostAnswer) => void,
  ): void {
    if (this.state === undefined) return;
    this.#tickets += 1;
    this.#answers.set(this.#tickets, answered);
    const asked: unknown = { ...question, ticket: this.#tickets };
    this.#tell(asked as HostEvent);
  }

  #tell(event: HostEvent): void {
    this.#enter(() => this.#turn(this.#world.ports.hostEvent?.(event) ?? event));
  }

  /** Into the process, if it still is the one that it was meant for: now, or when it goes on. */
  #enter(act: () => void): void {
    const life = this.#life;
    const run = (): void => {
      if (life === this.#life && this.state !== undefined) act();
    };
    if (this.paused) this.#stalled.push(run);
    else run();
  }

  #turn(event: HostEvent): void {
    const before = this.state;
    if (before === undefined) return;
    const world = this.#world;
    if (event.kind !== "tick" && event.kind !== "surveyed") world.note(this.address, () => event);
    const { state, changes, effects } = this.#step(before, [event], { nowMs: world.timeline.nowMs });
    const turn = { host: this, before, after: state, events: [event], changes, effects };
    const ends = (where: HostMoment["where"]): boolean =>
      this.#endsAt({ where, host: this, event, changes, effects, done: 0 });
    if (world.ports.hostActsFirst === true && changes.length > 0) {
      world.tell((checker) => checker.onHostTurn?.(turn));
      this.#carryOut(event, changes, effects);
      if (ends("host-before-store")) return;
      this.#store(changes);
      this.state = state;
      this.#planTick();
      return;
    }
    if (changes.length > 0 && ends("host-before-store")) return;
    this.#store(changes);
    this.state = state;
    world.tell((checker) => checker.onHostTurn?.(turn));
    if (changes.length > 0 && ends("host-after-store")) return;
    this.#carryOut(event, changes, effects);
    this.#planTick();
  }

  /** Whether the process ends here; it does so at once. */
  #endsAt(moment: HostMoment): boolean {
    if (!this.#world.endsAt(moment)) return false;
    this.crash();
    this.#world.timeline.after(200 + this.#world.rng.int(3_000), () => this.start());
    return true;
  }

  #carryOut(event: HostEvent, changes: readonly Change[], effects: readonly Effect[]): void {
    const life = this.#life;
    for (const [index, effect] of effects.entries()) {
      if (life !== this.#life) return;
      const moment = { where: "host-between-effects", host: this, event, changes, effects, done: index } as const;
      if (index > 0 && this.#endsAt(moment)) return;
      const { hostEffect } = this.#world.ports;
      const carried = hostEffect === undefined ? effect : hostEffect(effect, (event) => this.#later(event));
      if (carried === undefined) continue;
      this.#world.tell((checker) => checker.onHostEffect?.(this, carried));
      this.#carry(carried);
    }
  }

  #later(event: HostEvent): void {
    this.#world.timeline.after(0, () => this.#tell(event));
  }

  #carry(effect: Effect): void {
    const { site } = this;
    switch (effect.kind) {
      case "answer": {
        const answered = this.#answers.get(effect.ticket);
        this.#answers.delete(effect.ticket);
        answered?.(effect.answer);
        return;
      }
      case "start":
        this.#order(effect, () => ({ kind: "start", plan: effect.plan }));
        return;
      case "act":
        this.#order(effect, () => ({ kind: "act", vm: effect.vm, action: effect.action, command: effect.job.command }));
        return;
      case "operate": {
        const { vm, operation, job } = effect;
        this.#order(effect, () => ({ kind: "operate", vm, operation, command: job.command }));
        return;
      }
      case "move-step": {
        const heard = this.#hearing();
        const { id, order } = effect;
        this.machine.move(id, order, (outcome) =>
          heard({ kind: "moved", vm: order.vm, id, step: order.step, outcome }),
        );
        return;
      }
      case "move-cancel":
        this.machine.mover.cancel(effect.vm);
        return;
      case "move-progress": {
        const progress = this.machine.mover.progress(effect.vm);
        if (progress !== undefined) this.#later({ kind: "move-progress", vm: effect.vm, progress });
        return;
      }
      case "survey": {
        const heard = this.#hearing();
        this.machine.survey((outcome) => heard({ kind: "surveyed", outcome }));
        return;
      }
      case "report": {
        const { capacity } = effect;
        site.toLeader(this.address, (lead) => lead.post({ kind: "host-capacity", host: this.name, capacity }));
        return;
      }
      case "learn-underlay":
        return;
      case "notify":
        this.#notify(effect.batch, effect.notices);
        return;
      case "log":
        return;
    }
  }

  #order(effect: Effect & { kind: "start" | "act" | "operate" }, make: () => Parameters<Machine["order"]>[0]): void {
    const heard = this.#hearing();
    this.machine.order(make(), (outcome) => heard({ kind: "acted", vm: effect.vm, job: effect.job, outcome }));
  }

  /** What comes back reaches only the process that asked. */
  #hearing(): (event: HostEvent) => void {
    const life = this.#life;
    return (event) => {
      if (life === this.#life) this.#tell(event);
    };
  }

  #notify(batch: number, notices: Extract<Effect, { kind: "notify" }>["notices"]): void {
    const heard = this.#hearing();
    let ended = false;
    const end = (event: HostEvent): void => {
      if (ended) return;
      ended = true;
      heard(event);
    };
    this.site.toLeader(this.address, (lead) =>
      lead.ask(
        (ticket) => ({ kind: "host-notices", ticket, host: this.name, ...notices }),
        (answer) =>
          this.site.fromLeader(this.address, () =>
            end(
              answer.kind === "notices-taken"
                ? { kind: "notices-taken", batch, sequence: answer.sequence }
                : { kind: "notices-unanswered", batch },
            ),
          ),
      ),
    );
    this.#world.timeline.after(NOTICES_WITHIN_MS, () => end({ kind: "notices-unanswered", batch }));
  }

  #planTick(): void {
    if (this.state === undefined) return;
    const atMs = Math.max(this.#world.timeline.nowMs + 1, nextDueMs(this.state));
    if (!Number.isFinite(atMs) || atMs >= this.#wakeAtMs) return;
    this.#wakeAtMs = atMs;
    const life = this.#life;
    this.#world.timeline.after(atMs - this.#world.timeline.nowMs, () => {
      if (life !== this.#life || this.#wakeAtMs !== atMs) return;
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.#tell({ kind: "tick" });
    });
  }

  #store(changes: readonly Change[]): void {
    for (const change of this.#world.ports.journal?.(changes) ?? changes) {
      switch (change.kind) {
        case "head":
          this.#disk.head = change.head;
          break;
        case "attempt":
          put(this.#disk.attempts, change.vm, change.record);
          break;
        case "notice":
          put(this.#disk.notices, change.vm, change.notice);
          break;
        case "answer":
          put(this.#disk.answers, change.order, change.answer);
          break;
      }
    }
  }

  #content(): JournalContent {
    const { head, attempts, answers, notices } = this.#disk;
    return {
      head: head ?? EMPTY_HEAD,
      attempts: [...attempts.values()],
      answers: [...answers.values()],
      notices: [...notices.values()],
    };
  }
}

/** Where other hosts reach it. */
function addressOf(site: Site, name: string): string {
  return `10.0.${site.index}.${name.slice(1)}`;
}

const EMPTY_CONTENT: JournalContent = { head: EMPTY_HEAD, attempts: [], answers: [], notices: [] };

function put<Key, Value>(map: Map<Key, Value>, key: Key, value: Value | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
