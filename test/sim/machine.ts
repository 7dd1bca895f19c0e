/** The hypervisor of a host: the truth about what runs. It can hang, be away, and lose everything with its power. */
import type { Rng } from "@muster/base";
import type {
  ActOutcome,
  DomainAction,
  DomainOperation,
  DomainPlan,
  DomainState,
  MoveOrder,
  MoveOutcome,
  SurveyOutcome,
} from "@muster/host-manager";
import { type Resources, resourcesOf } from "@muster/protocol";
import { type Domain, type DomainChange, type Parts, reportOf } from "./domain.ts";
import { MachineMover, type MoveNetwork } from "./machine-mover.ts";
import { operateOn } from "./machine-operation.ts";
import type { Timeline } from "./timeline.ts";

export type Order =
  | { readonly kind: "start"; readonly plan: DomainPlan }
  | { readonly kind: "act"; readonly vm: string; readonly action: DomainAction; readonly command: string }
  | { readonly kind: "operate"; readonly vm: string; readonly operation: DomainOperation; readonly command: string };

const ORDER_WITHIN_MS = 2_000;
const UNKNOWN = { kind: "unknown", reason: "the hypervisor does not answer" } as const;
const FOREIGN = "f0000000-0000-7000-8000-000000000001";

export class Machine {
  readonly total: Resources;
  readonly domains = new Map<string, Domain>();
  /** Snapshots and volumes, by VM. */
  readonly parts = new Map<string, Parts>();
  readonly mover: MachineMover;
  hung = false;
  away = false;
  /** Work under way: what a hung hypervisor has taken is done when it goes on. */
  #pending: { readonly run: () => void; done: boolean }[] = [];
  readonly #timeline: Timeline;
  readonly #rng: Rng;
  readonly #onChange: (change: DomainChange) => void;

  constructor(
    vcpus: number,
    timeline: Timeline,
    rng: Rng,
    onChange: (change: DomainChange) => void,
    moves?: MoveNetwork,
  ) {
    this.total = { vcpus, memoryMiB: vcpus * 2_048, diskGiB: vcpus * 20, gpus: 0 };
    this.#timeline = timeline;
    this.#rng = rng;
    this.#onChange = onChange;
    this.mover = new MachineMover(this.domains, timeline, rng, onChange, moves);
  }

  addForeign(): void {
    const used = { vcpus: 1, memoryMiB: 512, diskGiB: 5, gpus: 0 };
    this.domains.set(FOREIGN, { plan: undefined, used, state: "running" });
  }

  /** Takes an order; `told` hears how it ended, at the latest when its time is over. */
  order(order: Order, told: (outcome: ActOutcome) => void): void {
    this.#work<ActOutcome>(() => this.#carryOut(order), UNKNOWN, told);
  }

  /** Carries out a step of a move; what takes long is answered when it is over. */
  move(id: string, order: MoveOrder, told: (outcome: MoveOutcome) => void): void {
    if (order.step === "perform")
      this.#work(
        () => this.mover.perform(id, order, told),
        undefined,
        () => {},
        () => told(UNKNOWN),
      );
    else this.#work<MoveOutcome>(() => this.mover.carryOut(id, order), UNKNOWN, told);
  }

  survey(told: (outcome: SurveyOutcome) => void): void {
    const look = (): SurveyOutcome => ({
      kind: "surveyed",
      facts: { total: this.total, driver: "simulated", hypervisor: "simulated", ...this.mover.facts },
      domains: Array.from(this.domains, ([vm, domain]) => reportOf(vm, domain)),
    });
    this.#work<SurveyOutcome>(look, UNKNOWN, told);
  }

  hang(): void {
    this.hung = true;
  }

  goOn(): void {
    this.hung = false;
    for (const work of this.#pending.splice(0)) work.run();
  }

  /** Who ordered is gone: what was under way happens now, or never. */
  abandon(): void {
    for (const work of this.#pending.splice(0)) {
      if (!this.hung && this.#rng.int(2) === 0) work.run();
      work.done = true;
    }
    this.mover.orphan();
  }

  powerLoss(): void {
    for (const work of this.#pending.splice(0)) work.done = true;
    this.hung = false;
    // Some hypervisors keep the definitions of their domains, some do not.
    const definitionsStay = this.#rng.int(2) === 0;
    this.mover.powerLoss();
    for (const [vm, domain] of [...this.domains]) {
      if (domain.plan === undefined) continue;
      if (definitionsStay && domain.moving?.role !== "incoming") {
        domain.moving = undefined;
        this.#setState(vm, domain, "stopped", "power", "");
        continue;
      }
      this.domains.delete(vm);
      this.#onChange({ kind: "removed", vm, domain, cause: "power", command: "" });
    }
  }

  /** A guest shuts itself down. */
  stopGuest(vm: string): void {
    const domain = this.domains.get(vm);
    if (domain !== undefined) this.#setState(vm, domain, "stopped", "guest", "");
  }

  #work<Outcome>(
    act: () => Outcome,
    unknown: Outcome,
    told: (outcome: Outcome) => void,
    notTaken: () => void = () => {},
  ): void {
    let answered = false;
    const tell = (outcome: Outcome): void => {
      if (answered) return;
      answered = true;
      told(outcome);
    };
    if (this.away) {
      this.#timeline.after(1, () => {
        notTaken();
        tell(unknown);
      });
      return;
    }
    const work = {
      done: false,
      run: (): void => {
        if (work.done) return;
        work.done = true;
        const outcome = act();
        this.#timeline.after(this.#rng.int(10), () => tell(outcome));
      },
    };
    this.#pending.push(work);
    this.#timeline.after(1 + this.#rng.int(40), () => {
      if (this.hung || work.done) return;
      this.#pending = this.#pending.filter((other) => other !== work);
      work.run();
    });
    this.#timeline.after(ORDER_WITHIN_MS, () => {
      if (!work.done && !answered) notTaken();
      tell(unknown);
    });
  }

  #carryOut(order: Order): ActOutcome {
    if (order.kind === "start") return this.#start(order.plan);
    if (order.kind === "act") return this.#act(order.vm, order.action, order.command);
    return this.#operate(order.vm, order.operation, order.command);
  }

  #operate(vm: string, operation: DomainOperation, command: string): ActOutcome {
    const domain = this.domains.get(vm);
    if (domain === undefined) return { kind: "refused", reason: "there is no such domain" };
    const { attempt = 0 } = domain.plan ?? {};
    const parts = this.parts.get(vm) ?? { attempt, snapshots: new Map(), volumes: new Map() };
    this.parts.set(vm, parts);
    const refused = operateOn(domain, parts, operation);
    if (refused !== undefined) return { kind: "refused", reason: refused };
    this.#onChange({ kind: "state", vm, domain, cause: "operate", command });
    return { kind: "done", domain: reportOf(vm, domain) };
  }

  #start(plan: DomainPlan): ActOutcome {
    const present = this.domains.get(plan.vm);
    if (present !== undefined && present.plan?.attempt !== plan.attempt)
      return { kind: "refused", reason: "a domain of another attempt stands here" };
    if (present !== undefined) {
      this.#setState(plan.vm, present, "running", "start", "");
      return { kind: "done", domain: reportOf(plan.vm, present) };
    }
    if (this.parts.get(plan.vm)?.attempt !== plan.attempt) this.parts.delete(plan.vm);
    const domain: Domain = { plan, used: resourcesOf(plan.subject.spec), state: "running" };
    this.domains.set(plan.vm, domain);
    this.#onChange({ kind: "made", vm: plan.vm, domain, cause: "start", command: "" });
    return { kind: "done", domain: reportOf(plan.vm, domain) };
  }

  #act(vm: string, action: DomainAction, command: string): ActOutcome {
    const domain = this.domains.get(vm);
    if (action === "delete") {
      this.parts.delete(vm);
      if (domain === undefined) return { kind: "done" };
      this.domains.delete(vm);
      this.#onChange({ kind: "removed", vm, domain, cause: action, command });
      return { kind: "done" };
    }
    if (domain === undefined) return { kind: "refused", reason: "there is no such domain" };
    if (action === "stop") {
      this.#setState(vm, domain, "stopped", action, command);
      // What was stopped is in no move any more.
      domain.moving = undefined;
    } else if (domain.state === "stopped") return { kind: "refused", reason: "the domain is stopped" };
    else if (action === "suspend") this.#setState(vm, domain, "paused", action, command);
    else this.#setState(vm, domain, "running", action, command);
    return { kind: "done", domain: reportOf(vm, domain) };
  }

  #setState(vm: string, domain: Domain, state: DomainState, cause: DomainChange["cause"], command: string): void {
    if (domain.state === state && cause !== "reboot") return;
    domain.state = state;
    this.#onChange({ kind: "state", vm, domain, cause, command });
  }
}
