import type { Command, Notice } from "@muster/protocol";
import { hostConfigSchema, policyOf } from "../config.ts";
import type { Answer, Change, Effect, HostEvent } from "../core/event.ts";
import { type HostState, initialState, type Policy } from "../core/state.ts";
import { step } from "../core/step.ts";
import type { DomainOperation } from "../hypervisor/operation.ts";
import type { ActOutcome, DomainAction, DomainPlan, DomainReport, DomainState } from "../hypervisor/port.ts";
import { contentOf, entryOf } from "../journal/entry.ts";
import { uuid } from "./fixture.ts";

type Domain = { readonly plan?: DomainPlan; state: DomainState };
type Pending = Effect & { readonly kind: "start" | "act" | "operate" };

const CONFIG = {
  site: "alpha.test",
  name: "h1",
  state: "/nowhere",
  xmpp: { service: "xmpps://127.0.0.1:5223", passwordFile: "/nowhere" },
  hypervisor: { kind: "simulated" },
};

export function testPolicy(more: Partial<Policy> = {}): Policy {
  return { ...policyOf(hostConfigSchema.parse(CONFIG)), overcommitMax: { vcpus: 1, memory: 1 }, ...more };
}

/**
 * The core with a disk and a hypervisor that a test drives by hand: what the core orders waits until the test has it
 * happen, so that everything can happen in between, the end of the process as well.
 */
export class CoreWorld {
  /** VMs whose leftovers were to be removed; and those that were known when the hypervisor was met. */
  readonly discarded: string[] = [];
  known: ReadonlySet<string> | undefined;
  /** VMs whose starts were given up. */
  readonly givenUp: string[] = [];
  /** Whether what is left of VMs can be removed. */
  isDiscarding = true;
  /** VMs that were cut off while they were asked to stop; operations that had their effect; why they have none. */
  readonly hurried: string[] = [];
  readonly operated: string[] = [];
  refuses: string | undefined;
  readonly disk = new Map<string, string>();
  readonly domains = new Map<string, Domain>();
  /** How often a domain came to be, by `vm/attempt`. */
  readonly beginnings = new Map<string, number>();
  readonly told: Notice[] = [];
  readonly reports: (Effect & { kind: "report" })[] = [];
  readonly policy: Policy;
  pending: Pending[] = [];
  state: HostState;
  nowMs = 0;
  /** Which boot of the machine it is: a test that takes its power away gives it a new one. */
  machineBoot = "boot-1";
  /** The domains as they were when the survey under way was asked for. */
  #asked: readonly DomainReport[] | undefined;
  #boots = 0;
  #tickets = 0;
  #answers = new Map<number, Answer>();

  constructor(policy: Partial<Policy> = {}) {
    this.policy = testPolicy({ total: { vcpus: 8, memoryMiB: 8_192, diskGiB: 100, gpus: 0 }, ...policy });
    this.state = this.#boot();
  }

  /** Up, linked and compared with the hypervisor. */
  static ready(policy: Partial<Policy> = {}): CoreWorld {
    const world = new CoreWorld(policy);
    world.take({ kind: "linked" }, { kind: "hypervisor-up" });
    world.survey();
    return world;
  }

  take(...events: HostEvent[]): void {
    const { state, changes, effects } = step(this.state, events, { nowMs: this.nowMs });
    this.store(changes);
    this.state = state;
    for (const effect of effects) this.#carryOut(effect);
  }

  store(changes: readonly Change[]): void {
    for (const { key, value } of changes.map(entryOf)) {
      if (value === undefined) this.disk.delete(key);
      else this.disk.set(key, JSON.stringify(value));
    }
  }

  /** The core's answer to a command, which is given in the same turn. */
  command(command: Command): Answer {
    return this.ask((ticket) => ({ kind: "command", ticket, command }));
  }

  ask(event: (ticket: number) => HostEvent): Answer {
    this.#tickets += 1;
    this.take(event(this.#tickets));
    const answer = this.#answers.get(this.#tickets);
    if (answer === undefined) throw new Error("every question is answered in its turn");
    return answer;
  }

  /** Has the n-th order happen; `heard` says whether the core hears how it ended. */
  carryOut(index = 0, heard = true): void {
    const [order] = this.pending.splice(index, 1);
    if (order === undefined) return;
    const outcome = this.#happen(order);
    const told: ActOutcome = heard ? outcome : { kind: "unknown", reason: "no answer in time" };
    this.take({ kind: "acted", vm: order.vm, job: order.job, outcome: told });
  }

  /** Has everything happen that was ordered, and everything that follows from it. */
  settle(): void {
    for (let turns = 0; this.pending.length > 0 && turns < 1_000; turns += 1) this.carryOut();
    this.survey();
    for (let turns = 0; this.pending.length > 0 && turns < 1_000; turns += 1) this.carryOut();
  }

  /** Waits for the next survey and answers it with what there is, or `late` with what there was when it was asked for. */
  survey(late = false): void {
    if (this.#asked === undefined) {
      this.nowMs += this.policy.surveyMs;
      this.take({ kind: "tick" });
    }
    const domains = late && this.#asked !== undefined ? this.#asked : this.#reports();
    this.#asked = undefined;
    const facts = { total: { vcpus: 8, memoryMiB: 8_192, diskGiB: 100, gpus: 0 }, driver: "test", hypervisor: "test" };
    this.take({ kind: "surveyed", outcome: { kind: "surveyed", facts, domains } });
  }

  /** Ends the process, with what it has ordered happening or not, and starts it again from its disk. */
  crash(ordersHappen = false): void {
    for (const order of this.pending.splice(0)) {
      if (!ordersHappen) continue;
      this.#happen(order);
    }
    this.state = this.#boot();
    this.#asked = undefined;
    this.take({ kind: "linked" }, { kind: "hypervisor-up" });
    this.survey();
  }

  #boot(): HostState {
    this.#boots += 1;
    const entries = Array.from(this.disk, ([key, text]): { key: string; value: unknown } => ({
      key,
      value: JSON.parse(text),
    }));
    const content = contentOf(entries);
    if (!content.ok) throw new Error(content.error);
    return initialState(content.value, this.policy, uuid(this.#boots, 8), this.nowMs, this.machineBoot);
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case "answer":
        this.#answers.set(effect.ticket, effect.answer);
        return;
      case "start":
      case "act":
      case "operate":
        this.pending.push(effect);
        return;
      case "hurry":
        this.hurried.push(effect.vm);
        return;
      case "survey":
        this.#asked = this.#reports();
        return;
      case "notify":
        this.told.push(...effect.notices.notices);
        this.take({
          kind: "notices-taken",
          batch: effect.batch,
          sequence: effect.notices.notices.at(-1)?.sequence ?? 0,
        });
        return;
      case "discard":
        if (this.isDiscarding) this.discarded.push(...effect.vms);
        this.take({ kind: "discarded", vms: effect.vms, done: this.isDiscarding });
        return;
      case "give-up":
        this.givenUp.push(effect.vm);
        return;
      case "tidy":
        this.known = effect.known;
        return;
      case "report":
        this.reports.push(effect);
    }
  }

  #happen(order: Pending): ActOutcome {
    switch (order.kind) {
      case "start":
        return this.#start(order.plan);
      case "act":
        return this.#act(order.vm, order.action);
      case "operate":
        return this.#operate(order.vm, order.operation);
    }
  }

  #operate(vm: string, operation: DomainOperation): ActOutcome {
    const domain = this.domains.get(vm);
    if (domain === undefined) return { kind: "refused", reason: "no such domain" };
    if (this.refuses !== undefined) return { kind: "refused", reason: this.refuses };
    if (operation.kind === "cut-off" || operation.kind === "save") domain.state = "stopped";
    this.operated.push(operation.kind);
    return { kind: "done", domain: this.#report(vm) };
  }

  #start(plan: DomainPlan): ActOutcome {
    const present = this.domains.get(plan.vm);
    if (present !== undefined && present.plan?.attempt !== plan.attempt) return { kind: "refused", reason: "a twin" };
    if (present === undefined) {
      const key = `${plan.vm}/${plan.attempt}`;
      this.beginnings.set(key, (this.beginnings.get(key) ?? 0) + 1);
      this.domains.set(plan.vm, { plan, state: "running" });
    } else {
      present.state = "running";
    }
    return { kind: "done", domain: this.#report(plan.vm) };
  }

  #act(vm: string, action: DomainAction): ActOutcome {
    const domain = this.domains.get(vm);
    if (action === "delete") {
      this.domains.delete(vm);
      return { kind: "done" };
    }
    if (domain === undefined) return { kind: "refused", reason: "no such domain" };
    if (action === "stop") domain.state = "stopped";
    if (action === "suspend") domain.state = "paused";
    if (action === "resume") domain.state = "running";
    return { kind: "done", domain: this.#report(vm) };
  }

  #reports(): DomainReport[] {
    return Array.from(this.domains, ([vm]) => this.#report(vm));
  }

  #report(vm: string): DomainReport {
    const domain = this.domains.get(vm);
    const used = { vcpus: 1, memoryMiB: 512, diskGiB: 0, gpus: 0 };
    if (domain === undefined) return { uuid: vm, state: "stopped", used };
    return { uuid: vm, state: domain.state, used, ...(domain.plan === undefined ? {} : { plan: domain.plan }) };
  }
}
