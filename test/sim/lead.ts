/**
 * One leadership: the real core under one term, between its queue and the store. What the leader's loop does is done here
 * step by step, so that it can end at every point: drain, step, one commit guarded by the term, then the effects (L2, L3).
 */
import type { Core, CoreEffect, CoreEvent, RecordChange } from "@muster/cluster-manager";
import { refusal } from "@muster/protocol";
import type { Answer } from "./core-words.ts";
import type { ManagerNode } from "./manager-node.ts";
import type { LeaderMoment } from "./moment.ts";
import { carryOut } from "./outward.ts";
import type { Site } from "./site.ts";
import type { World } from "./world.ts";

/** What came of a batch of events. */
type Turned = {
  readonly events: readonly CoreEvent[];
  readonly changes: readonly RecordChange[];
  readonly effects: readonly Caused[];
};
type Caused = { readonly effect: CoreEffect; readonly cause: CoreEvent };

const AWAY = refusal("unavailable", "store-away", "the store is read again: try again", { retryAfterMs: 500 });
const NOT_LEADING = refusal("unavailable", "not-leading", "another manager leads: ask it");
const RELOAD_MS = 100;
const TICK_GAP_MS = 5;

export class Lead {
  readonly manager: ManagerNode;
  readonly site: Site;
  readonly term: number;
  readonly world: World;
  /** Lists of hosts that are being fetched. */
  readonly fetching = new Set<string>();
  core: Core;
  over = false;
  startedAtMs: number;
  readonly #makeCore: () => Core;
  #queue: CoreEvent[] = [];
  #turning = false;
  #reading = false;
  #failures = 0;
  #tickets = 0;
  #tickToken = 0;
  #tickedMs = Number.NEGATIVE_INFINITY;
  readonly #waiting = new Map<number, (answer: Answer) => void>();

  constructor(manager: ManagerNode, term: number, makeCore: () => Core, records: Iterable<readonly [string, unknown]>) {
    this.manager = manager;
    this.site = manager.site;
    this.world = manager.world;
    this.term = term;
    this.#makeCore = makeCore;
    this.startedAtMs = this.world.timeline.nowMs;
    this.core = this.#load(records);
  }

  get name(): string {
    return `${this.manager.address}#${this.term}`;
  }

  nowMs(): number {
    return this.manager.siteNowMs();
  }

  /** Hands in what happened. */
  post(event: CoreEvent): void {
    this.manager.enter(() => this.#post(event));
  }

  /** Hands in a question; `answered` hears its one answer. */
  ask(event: (ticket: number) => CoreEvent, answered: (answer: Answer) => void): void {
    this.manager.enter(() => {
      if (this.over || this.#reading) {
        answered({ kind: "refused", refusal: this.over ? NOT_LEADING : AWAY });
        return;
      }
      this.#tickets += 1;
      this.#waiting.set(this.#tickets, answered);
      this.#post(event(this.#tickets));
    });
  }

  answer(ticket: number, answer: Answer): void {
    const answered = this.#waiting.get(ticket);
    this.#waiting.delete(ticket);
    answered?.(answer);
  }

  /** Ends for good: whoever waits hears so, unless the process is gone. */
  end(tell: boolean): void {
    if (this.over) return;
    this.over = true;
    this.#queue = [];
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    if (tell) for (const answered of waiting) answered({ kind: "refused", refusal: NOT_LEADING });
  }

  #load(records: Iterable<readonly [string, unknown]>): Core {
    const core = this.#makeCore();
    core.load(records);
    this.#queue = [{ kind: "link", online: !this.site.serverAway }, { kind: "tick" }];
    return core;
  }

  #post(event: CoreEvent): void {
    if (this.over || this.#reading) return;
    this.#queue.push(this.world.ports.coreEvent?.(event) ?? event);
    this.turn();
  }

  turn(): void {
    if (this.#turning || this.over || this.#reading || this.#queue.length === 0) return;
    const batch = this.#queue;
    this.#queue = [];
    const changes: RecordChange[] = [];
    const effects: Caused[] = [];
    const env = { nowMs: this.nowMs(), newId: () => this.world.newId() };
    for (const event of batch) {
      if (event.kind !== "tick" && event.kind !== "host-capacity") this.world.note(this.name, () => event);
      this.world.tell((checker) => checker.onEvent?.(this, event));
      const step = this.core.step(event, env);
      changes.push(...step.changes);
      for (const effect of step.effects) effects.push({ effect, cause: event });
    }
    // What answers somebody goes through the store too, or a deposed leader would refuse what its successor takes (L2).
    const answers = effects.some(isAnswer) && this.world.ports.answersUnguarded !== true;
    if (changes.length === 0 && !answers) {
      this.#carryOut({ events: batch, changes, effects });
      this.#next();
      return;
    }
    if (this.world.ports.answersBeforeCommit === true)
      this.#carryOut({ events: batch, changes, effects: effects.filter(isAnswer) });
    const turn: Turned = { events: batch, changes, effects };
    if (this.#endsAt("before-commit", turn, 0)) return;
    this.#turning = true;
    this.#commit(turn);
  }

  /** The store takes the changes at some moment; the process hears of it when it can. */
  #commit(turn: Turned): void {
    const { events, changes } = turn;
    const { world, site } = this;
    const trouble = site.storeTrouble();
    const { commitMs } = world.swarm;
    const delayMs = trouble === "slow" ? 300 + world.rng.int(700) : commitMs === 0 ? 0 : world.rng.int(commitMs + 1);
    const commit = (): void => {
      const deposed = site.store.term !== this.term && world.ports.unguardedStore !== true;
      const applied = !deposed && trouble !== "failed" && !(trouble === "unknown" && world.rng.int(2) === 0);
      if (applied) {
        const kept = site.store.apply(changes);
        world.note(this.name, () => ({ commit: changes.map(brief) }));
        world.tell((checker) => checker.onCommit?.(this, kept, events));
      }
      this.manager.enter(() => {
        if (this.over) return;
        this.#turning = false;
        if (deposed) this.#deposed(turn);
        else if (trouble === "failed" || trouble === "unknown") this.#recover();
        else {
          this.#failures = 0;
          if (this.#endsAt("after-commit", turn, 0)) return;
          this.#carryOut(turn);
        }
        this.#next();
      });
    };
    // A commit on its way to the store arrives whatever becomes of the process.
    if (delayMs === 0) commit();
    else world.timeline.after(delayMs, commit);
  }

  #next(): void {
    if (this.over) return;
    if (this.#queue.length > 0) this.turn();
    else this.#planTick();
  }

  #deposed(turn: Turned): void {
    if (this.world.ports.heedlessWhenDeposed === true) {
      this.world.tell((checker) => checker.onDeposed?.(this));
      this.#carryOut(turn);
      return;
    }
    this.world.note(this.name, () => `is deposed by term ${this.site.store.term}`);
    this.world.tell((checker) => checker.onDeposed?.(this));
    this.manager.stepDown();
  }

  /** The core has stepped on what may not be stored: it is thrown away, with everyone who waits for it. */
  #recover(): void {
    this.world.note(this.name, () => "the commit failed: reads the store again");
    this.#reading = true;
    this.#queue = [];
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const answered of waiting) answered({ kind: "refused", refusal: AWAY });
    this.#failures += 1;
    this.world.timeline.after(RELOAD_MS * Math.min(10, this.#failures), () =>
      this.manager.enter(() => {
        if (this.over) return;
        this.#reading = false;
        this.startedAtMs = this.world.timeline.nowMs;
        this.core = this.#load(this.site.store.read());
        this.world.tell((checker) => checker.onLead?.(this));
        this.turn();
      }),
    );
  }

  #carryOut(turn: Turned): void {
    for (const [index, { effect, cause }] of turn.effects.entries()) {
      if (this.over || !this.manager.up) return;
      if (index > 0 && this.#endsAt("between-effects", turn, index)) return;
      this.world.tell((checker) => checker.onEffect?.(this, effect, cause));
      carryOut(this, effect);
    }
  }

  /** Whether the process ends here; it does so at once. */
  #endsAt(where: LeaderMoment["where"], { events, changes, effects }: Turned, done: number): boolean {
    const all = effects.map(({ effect }) => effect);
    if (!this.world.endsAt({ where, lead: this, events, changes, effects: all, done })) return false;
    this.manager.crashAndReturn();
    return true;
  }

  /** As the loop does it: however many events come, the gap is counted from the last tick. */
  #planTick(): void {
    this.#tickToken += 1;
    const token = this.#tickToken;
    const { timeline } = this.world;
    const atMs = Math.max(
      this.#tickedMs + TICK_GAP_MS,
      timeline.nowMs + this.manager.untilMs(this.core.nextDueMs(this.nowMs())),
    );
    timeline.after(Math.max(0, atMs - timeline.nowMs), () => {
      if (token !== this.#tickToken) return;
      this.#tickedMs = timeline.nowMs;
      this.post({ kind: "tick" });
    });
  }
}

function isAnswer({ effect }: Caused): boolean {
  return effect.kind === "answer";
}

function brief(change: RecordChange): unknown {
  if (change.kind === "delete") return `-${change.key}`;
  const { phase, stage, wanted, place, attempt } = change.value as Readonly<Record<string, unknown>>;
  return [change.key, phase ?? stage, wanted, attempt, place];
}
