import type { Notice, Resources } from "@muster/protocol";
import type { Moving } from "../move/moving.ts";
import { inventoryDigest } from "../report/inventory.ts";
import { DraftMap } from "./draft-map.ts";
import type { Change, Effect, Environment } from "./event.ts";
import {
  type AttemptRecord,
  type Head,
  type HostState,
  type HypervisorView,
  hostVmOf,
  isLive,
  type Job,
  type Policy,
  type StoredAnswer,
  type Timing,
} from "./state.ts";

/** Longest reason that is kept and told: fifty of them still fit into one stanza. */
const REASON_LENGTH_MAX = 200;

/** One turn of the core: the state before it, what the turn has made of it so far, and what is to be done about it. */
export class Turn {
  readonly policy: Policy;
  readonly bootId: string;
  readonly machineBoot: string | undefined;
  readonly nowMs: number;
  /** The clock of the machine: goes on while the process does not run, see `LeaseEnd`. */
  readonly machineMs: number;
  readonly number: number;
  readonly attempts: DraftMap<string, AttemptRecord>;
  readonly answers: DraftMap<string, StoredAnswer>;
  readonly notices: DraftMap<string, Notice>;
  readonly jobs: DraftMap<string, Job>;
  readonly waiting: DraftMap<string, true>;
  readonly touched: DraftMap<string, number>;
  readonly leftovers: DraftMap<string, true>;
  readonly discarding: DraftMap<string, true>;
  readonly moves: DraftMap<string, Moving>;
  readonly effects: Effect[] = [];
  head: Head;
  hypervisor: HypervisorView;
  foreign: { readonly vms: number; readonly used: Resources };
  linked: boolean;
  timing: Timing;
  underlay: HostState["underlay"];
  readonly #before: HostState;
  readonly #forgottenOrders: number[] = [];
  #listChanged = false;

  constructor(state: HostState, env: Environment) {
    this.#before = state;
    this.policy = state.policy;
    this.bootId = state.bootId;
    this.machineBoot = state.machineBoot;
    this.nowMs = env.nowMs;
    this.machineMs = env.nowMs + state.machineAheadMs;
    this.number = state.turn + 1;
    this.attempts = new DraftMap(state.attempts);
    this.answers = new DraftMap(state.answers);
    this.notices = new DraftMap(state.notices);
    this.jobs = new DraftMap(state.jobs);
    this.waiting = new DraftMap(state.waiting);
    this.touched = new DraftMap(state.touched);
    this.leftovers = new DraftMap(state.leftovers);
    this.discarding = new DraftMap(state.discarding);
    this.moves = new DraftMap(state.moves);
    this.head = state.head;
    this.hypervisor = state.hypervisor;
    this.foreign = state.foreign;
    this.linked = state.linked;
    this.timing = state.timing;
    this.underlay = state.underlay;
  }

  /** Keeps a record; the report follows. Where an answer does not already say so, `tell` as well. */
  put(record: AttemptRecord): void {
    const reason = record.reason?.slice(0, REASON_LENGTH_MAX);
    const kept = reason === undefined ? record : { ...record, reason };
    this.attempts.set(kept.vm, kept);
    // What lies there is this VM's from now on.
    if (isLive(kept)) this.leftovers.delete(kept.vm);
    this.#listChanged = true;
    this.reportSoon();
  }

  /** Keeps a record and owes the leader a notice of it, until it is acknowledged. */
  putAndTell(record: AttemptRecord): void {
    this.put(record);
    const sequence = this.head.noticeSequence + 1;
    this.head = { ...this.head, noticeSequence: sequence };
    this.notices.set(record.vm, { ...hostVmOf(this.attempts.get(record.vm) ?? record), sequence });
    this.log("info", `attempt ${record.attempt} is ${record.state}`, record.vm);
  }

  forget(vm: string): void {
    this.attempts.delete(vm);
    this.notices.delete(vm);
    this.waiting.delete(vm);
    this.#listChanged = true;
    this.reportSoon();
  }

  /** Remembers the answer of a command id, and forgets the oldest beyond the bound (H2, S2). */
  remember(id: string, digest: string, answer: StoredAnswer["answer"]): void {
    const order = this.head.answerOrder + 1;
    this.head = { ...this.head, answerOrder: order };
    this.answers.set(id, { id, order, digest, answer });
    for (const [oldest, stored] of this.answers.map) {
      if (this.answers.size <= this.policy.answersMax) break;
      this.answers.delete(oldest);
      this.#forgottenOrders.push(stored.order);
    }
  }

  obey(term: number): void {
    if (term <= this.head.term) return;
    const { opening: _, ...head } = this.head;
    this.head = { ...head, term };
    this.reportSoon();
  }

  /** Has the next report go out once the time for collecting changes is over. */
  reportSoon(): void {
    const dueMs = Math.min(this.timing.reportDueMs, this.nowMs + this.policy.reportMs);
    this.timing = { ...this.timing, reportDueMs: dueMs };
  }

  reportNow(): void {
    this.timing = { ...this.timing, reportDueMs: this.nowMs };
  }

  surveyNow(): void {
    this.timing = { ...this.timing, surveyDueMs: this.nowMs };
  }

  /** Has everything removed that a VM without a domain left on the machine: stored, and begun again until it is done. */
  discard(vm: string): void {
    this.leftovers.set(vm, true);
    this.discarding.set(vm, true);
    this.effects.push({ kind: "discard", vms: [vm] });
  }

  /** Begins again with what was not removed when it should have been. */
  discardRest(): void {
    for (const vm of Array.from(this.leftovers.map.keys())) if (!this.discarding.has(vm)) this.discard(vm);
  }

  discarded(vms: readonly string[], isDone: boolean): void {
    for (const vm of vms) {
      this.discarding.delete(vm);
      if (isDone) this.leftovers.delete(vm);
    }
  }

  log(level: "info" | "warn", text: string, vm?: string): void {
    this.effects.push({ kind: "log", level, text, ...(vm === undefined ? {} : { vm }) });
  }

  /** Brings the digest of the list up to date; to be called before anything that tells it. */
  settleDigest(): void {
    if (!this.#listChanged) return;
    this.#listChanged = false;
    const digest = inventoryDigest(this.attempts.map.values());
    if (digest !== this.head.digest) this.head = { ...this.head, digest, revision: this.head.revision + 1 };
  }

  end(): { readonly state: HostState; readonly changes: readonly Change[]; readonly effects: readonly Effect[] } {
    this.settleDigest();
    return { state: this.#state(), changes: this.#changes(), effects: this.effects };
  }

  #state(): HostState {
    return {
      bootId: this.bootId,
      machineBoot: this.machineBoot,
      machineAheadMs: this.#before.machineAheadMs,
      policy: this.policy,
      head: this.head,
      attempts: this.attempts.map,
      answers: this.answers.map,
      notices: this.notices.map,
      hypervisor: this.hypervisor,
      foreign: this.foreign,
      linked: this.linked,
      jobs: this.jobs.map,
      waiting: this.waiting.map,
      touched: this.touched.map,
      leftovers: this.leftovers.map,
      discarding: this.discarding.map,
      moves: this.moves.map,
      turn: this.number,
      timing: this.timing,
      underlay: this.underlay,
    };
  }

  #changes(): Change[] {
    const changes: Change[] = [];
    if (this.head !== this.#before.head) changes.push({ kind: "head", head: this.head });
    for (const vm of this.attempts.written) changes.push({ kind: "attempt", vm, record: this.attempts.get(vm) });
    for (const vm of this.notices.written) changes.push({ kind: "notice", vm, notice: this.notices.get(vm) });
    for (const vm of this.leftovers.written) changes.push({ kind: "leftover", vm, isLeft: this.leftovers.has(vm) });
    for (const id of this.answers.written) {
      const answer = this.answers.get(id);
      if (answer !== undefined) changes.push({ kind: "answer", order: answer.order, answer });
    }
    for (const order of this.#forgottenOrders) changes.push({ kind: "answer", order, answer: undefined });
    return changes;
  }
}
