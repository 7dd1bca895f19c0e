import type { Clock } from "@muster/base";
import { NO_RESOURCES, type Resources, resourcesOf } from "@muster/protocol";
import type {
  ActOutcome,
  DomainAction,
  DomainPlan,
  DomainReport,
  DomainState,
  Hypervisor,
  HypervisorEvent,
} from "./port.ts";

export type SimulatedMachineOptions = {
  readonly clock: Clock;
  readonly total: Resources;
  /** How long starting takes, and how long every other order takes. */
  readonly startMs?: number;
  readonly stopMs?: number;
};

type SimulatedDomain = { readonly plan?: DomainPlan; readonly used: Resources; state: DomainState };

/**
 * A machine with a hypervisor that keeps its word and takes its time, and nothing else: VMs in memory, on the given
 * clock. It outlives the host manager that drives it, as libvirt does; `powerCut` is what ends its VMs.
 */
export class SimulatedMachine {
  readonly #clock: Clock;
  readonly #total: Resources;
  readonly #startMs: number;
  readonly #stopMs: number;
  readonly #domains = new Map<string, SimulatedDomain>();
  readonly #listeners = new Set<(event: HypervisorEvent) => void>();
  #hung = false;
  #beginnings = new Map<string, number>();

  constructor(options: SimulatedMachineOptions) {
    this.#clock = options.clock;
    this.#total = options.total;
    this.#startMs = options.startMs ?? 0;
    this.#stopMs = options.stopMs ?? 0;
  }

  /** A connection to the machine; what a host manager is given. Orders it handed over go on after `close`, as libvirt's do. */
  connect(): Hypervisor {
    let own: ((event: HypervisorEvent) => void) | undefined;
    return {
      open: (listener) => {
        own = listener;
        this.#listeners.add(listener);
        listener({ kind: "up" });
      },
      survey: async () => {
        if (this.#hung) return { kind: "unknown", reason: "the simulated hypervisor hangs" };
        const facts = { total: this.#total, driver: "simulated", hypervisor: "simulated 1" };
        return { kind: "surveyed", facts, domains: Array.from(this.#domains, ([uuid, it]) => reportOf(uuid, it)) };
      },
      start: (plan) => this.#later(this.#startMs, () => this.#start(plan)),
      act: (vm, action) => this.#later(this.#stopMs, () => this.#act(vm, action)),
      close: async () => {
        if (own !== undefined) this.#listeners.delete(own);
      },
    };
  }

  /** How often a domain came to be for an attempt at a VM: never more than once (H5). */
  beginningsOf(vm: string, attempt: number): number {
    return this.#beginnings.get(`${vm}/${attempt}`) ?? 0;
  }

  domains(): ReadonlyMap<string, { readonly state: DomainState; readonly plan?: DomainPlan }> {
    return this.#domains;
  }

  /** A domain of somebody else's. */
  addForeign(uuid: string, used: Resources): void {
    this.#domains.set(uuid, { used, state: "running" });
    this.#tell({ kind: "changed" });
  }

  /** The guest ends by itself. */
  guestStops(vm: string): void {
    const domain = this.#domains.get(vm);
    if (domain === undefined) return;
    domain.state = "stopped";
    this.#tell({ kind: "changed" });
  }

  /** All domains are gone, as libvirt's test driver forgets them when its daemon ends. */
  powerCut(): void {
    this.#domains.clear();
    this.#tell({ kind: "down", reason: "the simulated machine lost its power" });
    this.#tell({ kind: "up" });
  }

  /** Orders end as unknown, though they are carried out; surveys are not answered. */
  hang(): void {
    this.#hung = true;
  }

  recover(): void {
    this.#hung = false;
    this.#tell({ kind: "up" });
  }

  #start(plan: DomainPlan): ActOutcome {
    const { vm, attempt, subject } = plan;
    const present = this.#domains.get(vm);
    if (present === undefined) {
      const key = `${vm}/${attempt}`;
      this.#beginnings.set(key, (this.#beginnings.get(key) ?? 0) + 1);
      this.#domains.set(vm, { plan, used: resourcesOf(subject.spec), state: "running" });
    } else if (present.plan?.attempt !== attempt) {
      return { kind: "refused", reason: `a domain ${vm} of another attempt is there already` };
    } else if (present.state === "stopped") {
      present.state = "running";
    }
    this.#tell({ kind: "changed" });
    return { kind: "done", domain: this.#report(vm) };
  }

  #act(vm: string, action: DomainAction): ActOutcome {
    const domain = this.#domains.get(vm);
    if (action === "delete") {
      this.#domains.delete(vm);
      this.#tell({ kind: "changed" });
      return { kind: "done" };
    }
    if (domain === undefined) return { kind: "refused", reason: `there is no domain ${vm}` };
    if (domain.state === "stopped" && action !== "stop")
      return { kind: "refused", reason: "the domain is not running" };
    if (action !== "reboot") domain.state = STATE_AFTER[action];
    this.#tell({ kind: "changed" });
    return { kind: "done", domain: this.#report(vm) };
  }

  #report(vm: string): DomainReport {
    return reportOf(vm, this.#domains.get(vm) ?? { used: NO_RESOURCES, state: "stopped" });
  }

  #later(delayMs: number, carryOut: () => ActOutcome): Promise<ActOutcome> {
    return new Promise((resolve) => {
      const end = (): void => {
        const outcome = carryOut();
        resolve(this.#hung ? { kind: "unknown", reason: "the simulated hypervisor hangs" } : outcome);
      };
      if (delayMs === 0) end();
      else this.#clock.setTimer(delayMs, end);
    });
  }

  #tell(event: HypervisorEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

const STATE_AFTER: Readonly<Record<Exclude<DomainAction, "delete" | "reboot">, DomainState>> = {
  stop: "stopped",
  suspend: "paused",
  resume: "running",
};

function reportOf(uuid: string, { state, used, plan }: SimulatedDomain): DomainReport {
  return { uuid, state, used, ...(plan === undefined ? {} : { plan }) };
}
