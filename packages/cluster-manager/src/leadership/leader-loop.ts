import { assertNever, BoundedQueue, backoffMs, type CancelTimer, type Clock, type Rng, uuidv7 } from "@muster/base";
import type { Refusal } from "@muster/protocol";
import type { Core, CoreEnv, CoreViews } from "../core/core.ts";
import type { CoreEffect } from "../core/effect.ts";
import type { CoreEvent, Ticket } from "../core/event.ts";
import type { RecordChange } from "../core/records.ts";
import { SettledReceipts } from "../ledger/settled-receipts.ts";
import type { CommitOutcome, Store } from "../store/store.ts";
import { BUSY, DEPOSED, FAULT, NOT_LEADING, STOPPING, STORE_AWAY, storeRefusal } from "./loop-refusals.ts";
import { NotServingError } from "./not-serving.ts";
import { OpenTickets, type Render, refused } from "./open-tickets.ts";
import { type SiteClock, siteClock } from "./site-clock.ts";
import { Slices } from "./slices.ts";

/** Records of the shell's own, which the core never sees: who watches what. */
export const SHELL_PREFIX = "watch/";

export type LeaderLoopOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly store: Store;
  /** A fresh core: at the start, and again whenever the working set is thrown away. */
  readonly makeCore: () => Core;
  /** Events that may wait at once; a caller beyond it hears `resource-constraint` (S2). */
  readonly queueMax: number;
  /** Carries one effect out; called in order, after the commit, while the views match it. */
  readonly carry: (effect: Exclude<CoreEffect, { readonly kind: "answer" }>, views: CoreViews, nowMs: number) => void;
  /** What a fresh core must hear first: whether the link is up. */
  readonly firstEvents: () => readonly CoreEvent[];
  readonly onDeposed: (term: number) => void;
  readonly onStoreTrouble: (message: string) => void;
  /** A bug in the core or an effect: the process is to end and start again from the store. */
  readonly onCrash: (error: unknown) => void;
  readonly onCommit?: (commit: { readonly changes: number; readonly tookMs: number }) => void;
};

type Item =
  | { readonly kind: "event"; readonly event: CoreEvent }
  | {
      readonly kind: "keep";
      readonly changes: readonly RecordChange[];
      readonly kept: (outcome: CommitOutcome) => void;
    };

type Reader = { readonly look: () => void; readonly refuse: (why: Refusal) => void };

/** Most events stepped before a commit: bounds the batch and the wait of the first caller in it. */
const BATCH_MAX = 512;
/** What nobody waits for may use the queue this many times beyond the callers' bound: it cannot be refused. */
const UNASKED_FACTOR = 8;
const TICK_GAP_MIN_MS = 5;
/** A turn so long after the last one that another may lead by now: the loop ticks far more often when it is let to. */
const STALL_MS = 3_000;
/** A commit without an outcome for so long: the store hangs, and another manager may do better. */
const COMMIT_MS_MAX = 15_000;
/** Between two tries to read the store after commits failed one after the other. */
const RECOVERY = { baseMs: 100, maxMs: 5_000 };

/**
 * The leader's loop: drains events, steps the core, commits all changes of the batch at once under the term, then
 * carries the effects out in order (L2, L3). One turn at a time; what arrives meanwhile is the next batch. However much
 * there is to do, the process comes to other things in between: a standby that hears nothing would take the lead.
 *
 * ```
 *  running ──commit failed, unknown──► recovering ──read again──► running
 *     └────────deposed, stop, bug──────────┴──────────────────► over
 * ```
 */
export class LeaderLoop {
  readonly #options: LeaderLoopOptions;
  readonly #time: SiteClock;
  readonly #tickets: OpenTickets;
  readonly #queue: BoundedQueue<Item>;
  readonly #slices: Slices;
  #core: Core;
  #state: "idle" | "running" | "recovering" | "over" = "idle";
  #turning = false;
  #failures = 0;
  #turnedMs: number;
  /** When the next tick is due: kept while events put its timer off, so that no stream of them keeps it away. */
  #tickAtMs = Number.POSITIVE_INFINITY;
  #tickedMs = Number.NEGATIVE_INFINITY;
  #cancelTick: CancelTimer = () => {};
  #readers: Reader[] = [];
  #endPause: () => void = () => {};
  #ended: Promise<void> = Promise.resolve();

  constructor(options: LeaderLoopOptions) {
    this.#options = options;
    this.#time = siteClock(options.clock);
    this.#tickets = new OpenTickets(options.clock);
    this.#slices = new Slices(options.clock);
    this.#queue = new BoundedQueue(options.queueMax * UNASKED_FACTOR);
    this.#core = options.makeCore();
    this.#turnedMs = options.clock.nowMs();
  }

  get queued(): number {
    return this.#queue.size;
  }

  get waiting(): number {
    return this.#tickets.size;
  }

  get state(): "idle" | "running" | "recovering" | "over" {
    return this.#state;
  }

  nowMs(): number {
    return this.#time.nowMs();
  }

  /** The views as they are, maybe ahead of the store by one turn: to know who somebody is, never to answer a caller. */
  get views(): CoreViews {
    return this.#core.views;
  }

  /** Reads the working set. Throws where the store cannot be read. */
  async start(): Promise<void> {
    await this.#load();
    this.#wake();
  }

  /** Hands in what happened, with nobody waiting. `false` when the queue is full: the sender says it again (S2). */
  post(event: CoreEvent): boolean {
    if (this.#state !== "running") return false;
    const taken = this.#queue.push({ kind: "event", event });
    this.#wake();
    return taken;
  }

  /** Hands in a request and waits for its one answer, as `render` shows it. Refused at the bound before anything else. */
  ask<Shown>(event: (ticket: Ticket) => CoreEvent, deadlineMs: number, render: Render<Shown>): Promise<Shown> {
    const refuse = (why: Refusal): Promise<Shown> =>
      Promise.resolve(render(refused(why), this.#core.views, this.nowMs()));
    if (this.#state !== "running") return refuse(this.#awayRefusal());
    if (this.#queue.size >= this.#options.queueMax || this.#tickets.size >= this.#options.queueMax) return refuse(BUSY);
    const now = () => ({ views: this.#core.views, nowMs: this.nowMs() });
    const { ticket, answered } = this.#tickets.open(deadlineMs, render, now);
    this.#queue.push({ kind: "event", event: event(ticket) });
    this.#wake();
    return answered;
  }

  /** Stores records of the shell with the next commit. */
  keep(changes: readonly RecordChange[]): Promise<CommitOutcome> {
    return new Promise((kept) => {
      const taken = this.#state === "running" && this.#queue.push({ kind: "keep", changes, kept });
      if (!taken) kept({ kind: "failed", message: this.#awayRefusal().message });
      this.#wake();
    });
  }

  /**
   * Reads the views between two turns, so that nobody is shown what is not stored yet (L3). Rejects with
   * `NotServingError` while the store is being read, at first and again, and when this manager leads no more.
   */
  read<Shown>(view: (views: CoreViews, nowMs: number) => Shown): Promise<Shown> {
    return new Promise((resolve, reject) => {
      if (this.#state !== "running") {
        reject(new NotServingError(this.#awayRefusal()));
        return;
      }
      const look = (): void => {
        try {
          resolve(view(this.#core.views, this.nowMs()));
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (this.#turning) this.#readers.push({ look, refuse: (why) => reject(new NotServingError(why)) });
      else look();
    });
  }

  /** Stops for good: whoever waits hears `unavailable`. The turn under way ends first. */
  async stop(): Promise<void> {
    this.#end(STOPPING);
    await this.#ended;
  }

  async #load(): Promise<void> {
    const records: (readonly [string, unknown])[] = [];
    const settled = new SettledReceipts();
    for await (const [key, value] of this.#options.store.scan(""))
      if (!key.startsWith(SHELL_PREFIX) && settled.keeps(key, value)) records.push([key, value]);
    const core = this.#options.makeCore();
    const loading = core.loading();
    for (const [key, value] of records) {
      loading.take(key, value);
      if (this.#slices.isOver) await this.#slices.breathe();
    }
    loading.end();
    this.#core = core;
    if (this.#state === "over") return;
    this.#state = "running";
    for (const event of this.#options.firstEvents()) this.#queue.push({ kind: "event", event });
    this.#queue.push({ kind: "event", event: { kind: "tick" } });
  }

  #wake(): void {
    if (this.#turning || this.#state !== "running") return;
    if (this.#queue.size === 0 && !this.#isTickDue()) return;
    this.#turning = true;
    this.#cancelTick();
    this.#ended = Promise.resolve().then(() => this.#turns());
  }

  async #turns(): Promise<void> {
    this.#slices.begin();
    try {
      while (this.#state === "running" && (this.#queue.size > 0 || this.#isTickDue())) {
        await this.#turn();
        await this.#slices.breathe();
        for (const { look } of this.#readers.splice(0)) look();
      }
    } catch (error) {
      this.#end(FAULT);
      this.#options.onCrash(error);
    } finally {
      this.#turning = false;
      for (const { look } of this.#readers.splice(0)) look();
    }
    if (this.#state === "running") this.#planTick();
  }

  async #turn(): Promise<void> {
    const { clock, rng } = this.#options;
    const env: CoreEnv = { nowMs: this.nowMs(), newId: () => uuidv7(clock, rng) };
    const changes: RecordChange[] = [];
    const effects: CoreEffect[] = [];
    const kept: ((outcome: CommitOutcome) => void)[] = [];
    const take = (event: CoreEvent): void => {
      const step = this.#core.step(event, env);
      changes.push(...step.changes);
      effects.push(...step.effects);
    };
    // At least one: what takes longer than a slice comes forward all the same.
    for (let taken = 0; taken < BATCH_MAX && (taken === 0 || !this.#slices.isOver); taken += 1) {
      const item = this.#queue.shift();
      if (item === undefined) break;
      if (item.kind === "event") take(item.event);
      else {
        changes.push(...item.changes);
        kept.push(item.kept);
      }
    }
    if (this.#isTickDue()) {
      take({ kind: "tick" });
      this.#tickedMs = clock.nowMs();
      this.#tickAtMs = Number.POSITIVE_INFINITY;
    }
    const outcome = await this.#commit(
      changes,
      effects.some(({ kind }) => kind === "answer"),
    );
    for (const hear of kept) hear(outcome);
    if (outcome.kind === "committed") await this.#carryOut(effects);
    else await this.#fail(outcome);
  }

  /**
   * L2, L3: what answers a caller goes through the store even where it changes nothing, so that nobody hears a refusal of a
   * leader whose successor would accept, nor *done* of one whose successor does otherwise. After a stop of the process (a
   * signal, a suspend, a long stall) nothing at all goes out before the store said that we lead.
   */
  async #commit(changes: readonly RecordChange[], answers: boolean): Promise<CommitOutcome> {
    const { clock, store } = this.#options;
    const startMs = clock.nowMs();
    const stalled = startMs - this.#turnedMs > STALL_MS;
    this.#turnedMs = startMs;
    if (changes.length === 0 && !answers && !stalled) return { kind: "committed" };
    const cancel = clock.setTimer(COMMIT_MS_MAX, () => this.#giveUp());
    const outcome = await store.commit(changes);
    cancel();
    this.#slices.begin();
    this.#turnedMs = clock.nowMs();
    this.#options.onCommit?.({ changes: changes.length, tookMs: this.#turnedMs - startMs });
    if (outcome.kind === "committed") this.#failures = 0;
    return outcome;
  }

  #giveUp(): void {
    this.#end(STORE_AWAY);
    this.#options.onCrash(new Error(`the store did not end a commit within ${COMMIT_MS_MAX} ms`));
  }

  /** In order. No step is taken meanwhile, so that the views match what is said. */
  async #carryOut(effects: readonly CoreEffect[]): Promise<void> {
    const nowMs = this.nowMs();
    for (const effect of effects) {
      if (this.#slices.isOver) {
        await this.#slices.breathe();
        // After a stop in between the store is asked once more whether we lead (L2).
        const outcome = await this.#commit([], false);
        if (outcome.kind !== "committed") return this.#fail(outcome);
      }
      if (this.#state === "over") return;
      if (effect.kind === "answer") this.#tickets.answer(effect.ticket, effect.answer, this.#core.views, nowMs);
      else this.#options.carry(effect, this.#core.views, nowMs);
    }
  }

  async #fail(outcome: Exclude<CommitOutcome, { readonly kind: "committed" }>): Promise<void> {
    switch (outcome.kind) {
      case "deposed":
        this.#end(DEPOSED);
        this.#options.onDeposed(outcome.term);
        return;
      case "failed":
      case "unknown":
        return this.#recover(storeRefusal(outcome));
      default:
        assertNever(outcome);
    }
  }

  /** The core has stepped on what is not stored: it is thrown away, with everyone who waits for it. */
  async #recover(why: Refusal): Promise<void> {
    this.#options.onStoreTrouble(why.message);
    this.#state = "recovering";
    this.#refuseAll(why);
    while (this.#state === "recovering") {
      if (this.#failures > 0) await this.#pause(backoffMs({ attempt: this.#failures, ...RECOVERY }, this.#options.rng));
      this.#failures += 1;
      try {
        await this.#load();
      } catch (cause) {
        this.#options.onStoreTrouble(cause instanceof Error ? cause.message : String(cause));
      }
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.setTimer(delayMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
  }

  #isTickDue(): boolean {
    return this.#options.clock.nowMs() >= this.#tickAtMs;
  }

  #planTick(): void {
    const { clock } = this.#options;
    const nowMs = clock.nowMs();
    const delayMs = this.#time.untilMs(this.#core.nextDueMs(this.nowMs()));
    this.#tickAtMs = Math.max(this.#tickedMs + TICK_GAP_MIN_MS, nowMs + delayMs);
    this.#cancelTick = clock.setTimer(Math.max(0, this.#tickAtMs - nowMs), () => {
      this.#tickAtMs = Math.min(this.#tickAtMs, clock.nowMs());
      this.#wake();
    });
  }

  #end(why: Refusal): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#cancelTick();
    this.#endPause();
    this.#refuseAll(why);
  }

  #refuseAll(why: Refusal): void {
    for (const item of this.#queue.drain())
      if (item.kind === "keep") item.kept({ kind: "failed", message: why.message });
    for (const reader of this.#readers.splice(0)) reader.refuse(why);
    this.#tickets.refuse("all", why, this.#core.views, this.nowMs());
  }

  #awayRefusal(): Refusal {
    return this.#state === "over" ? NOT_LEADING : STORE_AWAY;
  }
}
