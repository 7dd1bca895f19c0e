import type { Rng, VirtualClock } from "@muster/base";
import { add, lacking, type Refusal, type Resources, refusal, resourcesOf, subtract, sum } from "@muster/protocol";
import { PEERING, SITE } from "../broker.fixture.ts";
import type { BurstNotice, BurstOutcome, BurstRequest } from "../burst-message.ts";
import { shareOf } from "../lend/admission.ts";
import { createLender } from "../lend/lender.ts";
import type { Lender, LenderEnv, LenderEvent, LendRecord } from "../lend/lender-contract.ts";
import type { Peering } from "../peering/peering.ts";

export const BORROWER = "alpha.test";
export const GRACE_MS = 3_000;
export const REMOVAL_MS_MAX = 1_000;

type Vm = {
  readonly exchange: string;
  readonly size: Resources;
  phase: "queued" | "running" | "paused" | "stopped" | "deleting";
};

/** A lending site: the real machine, a store that survives crashes, hosts that run VMs whether the manager is up or not. */
export class LenderNode {
  readonly domain: string;
  readonly vms = new Map<string, Vm>();
  readonly stored = new Map<string, LendRecord>();
  accept = true;
  up = true;
  steps = 0;
  onNotice: (notice: BurstNotice) => void = () => undefined;
  /** Called at every step, to decide whether the manager dies before or after its commit. */
  fate: () => "lives" | "dies-before-commit" | "dies-after-commit" = () => "lives";
  onCrash: () => void = () => undefined;
  #machine: Lender = createLender();
  #tickets = 0;
  readonly #waiting = new Map<number, (outcome: BurstOutcome) => void>();
  readonly #firstAnswers = new Map<string, string>();
  readonly #clock: VirtualClock;
  readonly #rng: Rng;
  #cancelTick: () => void = () => undefined;

  constructor(domain: string, clock: VirtualClock, rng: Rng) {
    this.domain = domain;
    this.#clock = clock;
    this.#rng = rng;
  }

  request(request: BurstRequest, reply: (outcome: BurstOutcome) => void): void {
    this.#tickets += 1;
    const ticket = this.#tickets;
    this.#waiting.set(ticket, (outcome) => {
      this.#checkSameAnswer(request, outcome);
      reply(outcome);
    });
    this.step({ kind: "request", peer: BORROWER, ticket, request });
  }

  step(event: LenderEvent): void {
    if (!this.up) return;
    this.steps += 1;
    const { changes, effects } = this.#machine.step(event, this.#env());
    const fate = this.fate();
    if (fate === "dies-before-commit") {
      this.#crash();
      return;
    }
    for (const change of changes)
      if (change.kind === "put") this.stored.set(change.record.id, change.record);
      else this.stored.delete(change.id);
    // What the effects do to the site's own VMs is in the same commit.
    const gone: string[] = [];
    for (const effect of effects) {
      if (effect.kind === "place") this.#place(effect.record);
      if (effect.kind === "want") this.#want(effect.record, effect.wanted);
      if (effect.kind === "remove" && !this.#remove(effect.record)) gone.push(effect.record.id);
    }
    if (fate === "dies-after-commit") {
      this.#crash();
      return;
    }
    for (const effect of effects) {
      if (effect.kind === "notify") this.onNotice({ states: effect.states });
      if (effect.kind === "answer") this.#reply(effect.ticket, { kind: "answered", answer: effect.answer });
      if (effect.kind === "refuse") this.#reply(effect.ticket, { kind: "refused", refusal: effect.refusal });
    }
    for (const id of gone) this.#say(id, "deleted");
    this.#schedule();
  }

  /** The manager comes back from its store and hears from its hosts what is there. */
  restart(): void {
    this.up = true;
    this.#machine = createLender();
    this.#machine.load(structuredClone([...this.stored.values()]));
    this.step({ kind: "tick" });
    for (const record of [...this.stored.values()]) {
      if (record.stage !== "leased" && record.stage !== "releasing") continue;
      const vm = this.vms.get(record.hold?.vm ?? "");
      this.#say(record.id, vm?.exchange === record.id ? vm.phase : "deleted");
    }
  }

  /** What must hold at any moment; `undefined` when it does. */
  violation(slackMs: number): string | undefined {
    const open = [...this.stored.values()].filter(({ stage }) => stage !== "released" && stage !== "voided");
    const taken = sum(open.flatMap(({ hold }) => (hold === undefined ? [] : [resourcesOf(hold.spec)])));
    const over = lacking(shareOf(SITE, PEERING.lend.share), taken);
    if (over !== undefined) return `B5: ${this.domain} gave more ${over} than the share`;
    for (const [vm, { exchange }] of this.vms) {
      const record = this.stored.get(exchange);
      if (record === undefined) return `B4: ${vm} at ${this.domain} has no lease at all`;
      if (this.#clock.nowMs() > record.expiresAtMs + GRACE_MS + slackMs)
        return `B4: ${vm} at ${this.domain} outlived its lease and grace`;
    }
    return undefined;
  }

  /** VMs for which something is open here, from hold to removal. */
  openVms(): Set<string> {
    const open = [...this.stored.values()].filter(({ stage }) => stage !== "released" && stage !== "voided");
    return new Set([...this.vms.keys(), ...open.flatMap(({ hold }) => (hold === undefined ? [] : [hold.vm]))]);
  }

  #crash(): void {
    this.up = false;
    this.#waiting.clear();
    this.#cancelTick();
    this.onCrash();
  }

  #reply(ticket: number, outcome: BurstOutcome): void {
    this.#waiting.get(ticket)?.(outcome);
    this.#waiting.delete(ticket);
  }

  /** B1, B3: what a hold was answered first stays its answer, until the exchange is over: then it stays over. */
  #checkSameAnswer(request: BurstRequest, outcome: BurstOutcome): void {
    if (outcome.kind === "answered" && outcome.answer.kind === "released") {
      const { id } = outcome.answer.body.state;
      const first = this.#firstAnswers.get(id);
      if (first === undefined || first === "held") this.#firstAnswers.set(id, "exchange-over");
    }
    if (request.kind !== "hold" || outcome.kind === "unknown") return;
    if (outcome.kind === "refused" && outcome.refusal.kind === "stale-term") return;
    const now = outcome.kind === "refused" ? outcome.refusal.reason : outcome.answer.kind;
    const first = this.#firstAnswers.get(request.body.id) ?? now;
    this.#firstAnswers.set(request.body.id, first === "held" ? now : first);
    if (now !== first && !(first === "held" && now === "exchange-over"))
      throw new Error(`B1: hold ${request.body.id} was answered ${first}, then ${now}`);
  }

  #schedule(): void {
    this.#cancelTick();
    const dueMs = this.#machine.nextDueMs();
    if (dueMs === undefined) return;
    const delayMs = Math.max(1, dueMs - this.#clock.nowMs());
    this.#cancelTick = this.#clock.setTimer(delayMs, () => this.step({ kind: "tick" }));
  }

  #place({ id, hold }: LendRecord): void {
    if (hold === undefined) throw new Error(`placed without a hold: ${id}`);
    if (this.vms.has(hold.vm)) throw new Error(`P1: ${hold.vm} was placed twice at ${this.domain}`);
    this.vms.set(hold.vm, { exchange: id, size: resourcesOf(hold.spec), phase: "queued" });
    const fails = this.#rng.next() < 0.05;
    this.#onHost(hold.vm, id, (vm) => {
      if (vm.phase === "deleting") return;
      if (fails) this.vms.delete(hold.vm);
      else vm.phase = "running";
      this.#say(id, fails ? "refused" : "running");
    });
  }

  #want(record: LendRecord, wanted: "running" | "paused" | "stopped"): void {
    const vm = this.vms.get(record.hold?.vm ?? "");
    if (vm !== undefined && vm.phase !== "deleting" && vm.phase !== "queued") vm.phase = wanted;
  }

  /** `false` when there is nothing to remove. */
  #remove(record: LendRecord): boolean {
    const id = record.hold?.vm ?? "";
    const vm = this.vms.get(id);
    if (vm?.exchange !== record.id) return false;
    if (vm.phase === "deleting") return true;
    vm.phase = "deleting";
    this.#onHost(id, record.id, () => {
      this.vms.delete(id);
      this.#say(record.id, "deleted");
    });
    return true;
  }

  /** Hosts act a little later; what they tell a dead manager is told again when it is back. */
  #onHost(id: string, exchange: string, act: (vm: Vm) => void): void {
    this.#clock.setTimer(1 + this.#rng.int(REMOVAL_MS_MAX), () => {
      const vm = this.vms.get(id);
      if (vm?.exchange === exchange) act(vm);
    });
  }

  #say(id: string, phase: Vm["phase"] | "deleted" | "refused"): void {
    this.step({ kind: "vm-changed", peer: BORROWER, id, phase });
  }

  #env(): LenderEnv {
    const running = sum([...this.vms.values()].map(({ size }) => size));
    const held = sum([...this.#machine.held()].map(({ spec }) => resourcesOf(spec)));
    const free = subtract(SITE, add(running, held));
    const peering: Peering = { ...PEERING, domain: BORROWER, lend: { ...PEERING.lend, accept: this.accept } };
    return {
      nowMs: this.#clock.nowMs(),
      term: 1,
      agent: "model",
      peering: (domain) => (domain === BORROWER ? peering : undefined),
      roomFor: (spec): Refusal | undefined =>
        lacking(free, resourcesOf(spec)) === undefined
          ? undefined
          : refusal("resource-constraint", "no-capacity", "full"),
      siteTotal: SITE,
      siteFree: free,
      largest: free,
      images: ["debian-12"],
      graceMs: GRACE_MS,
      rememberMs: 60_000,
    };
  }
}
