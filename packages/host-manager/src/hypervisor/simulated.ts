import type { Clock } from "@muster/base";
import { NO_RESOURCES, type Resources, resourcesOf } from "@muster/protocol";
import type { MoveOrder, MoveOutcome } from "../move/port.ts";
import type { DomainOperation, SnapshotReport } from "./operation.ts";
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

type SimulatedDomain = {
  readonly plan?: DomainPlan;
  used: Resources;
  state: DomainState;
  /** What was kept of it, by name: how it was, and when that was. */
  readonly snapshots?: Map<string, SnapshotReport>;
};

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
        const facts = { total: this.#total, driver: "simulated", hypervisor: "simulated 1", moves: true };
        return { kind: "surveyed", facts, domains: Array.from(this.#domains, ([uuid, it]) => reportOf(uuid, it)) };
      },
      start: (plan) => this.#later(this.#startMs, () => this.#start(plan)),
      act: (vm, action) => this.#later(this.#stopMs, () => this.#act(vm, action)),
      operate: (vm, operation) => this.#later(this.#stopMs, () => this.#operate(vm, operation)),
      snapshots: async (vm) => {
        const domain = this.#domains.get(vm);
        return domain === undefined ? undefined : [...(domain.snapshots?.values() ?? [])];
      },
      mover: {
        carryOut: (order) => this.#later(this.#stopMs, () => this.#move(order)),
        cancel: async () => {},
        progress: async () => undefined,
      },
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
      this.#begun(vm, attempt);
      this.#domains.set(vm, { plan, used: resourcesOf(subject.spec), state: "running", snapshots: new Map() });
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

  /** What a guest without disks can show of an operation: its state, its size, and that it was carried out. */
  #operate(vm: string, operation: DomainOperation): ActOutcome {
    const domain = this.#domains.get(vm);
    if (domain === undefined) return { kind: "refused", reason: `there is no domain ${vm}` };
    const refused = this.#change(domain, operation);
    if (refused !== undefined) return { kind: "refused", reason: refused };
    this.#tell({ kind: "changed" });
    return { kind: "done", domain: this.#report(vm) };
  }

  #change(domain: SimulatedDomain, operation: DomainOperation): string | undefined {
    const { snapshots } = domain;
    switch (operation.kind) {
      case "cut-off":
      case "save":
        domain.state = "stopped";
        return undefined;
      case "create-snapshot": {
        const { name } = operation;
        const createdAtS = Math.floor(this.#clock.nowMs() / 1_000);
        snapshots?.set(name, { name, createdAtS, state: domain.state, isCurrent: true });
        return undefined;
      }
      case "revert-snapshot": {
        const snapshot = snapshots?.get(operation.name);
        if (snapshot === undefined) return `the VM has no snapshot ${operation.name}`;
        domain.state = snapshot.state;
        return undefined;
      }
      case "delete-snapshot":
        snapshots?.delete(operation.name);
        return undefined;
      case "resize": {
        if (domain.state !== "stopped") return "stop the VM first: it is resized while it is stopped";
        const {
          vcpus = domain.used.vcpus,
          memoryMiB = domain.used.memoryMiB,
          diskGiB = domain.used.diskGiB,
        } = operation;
        domain.used = { ...domain.used, vcpus, memoryMiB, diskGiB };
        return undefined;
      }
      default:
        return undefined;
    }
  }

  /** Between simulated machines there is nothing to send: what is moved is that the guest runs in one place or the other. */
  #move(order: MoveOrder): MoveOutcome {
    const domain = this.#domains.get(order.vm);
    if (order.step === "prepare") {
      if (domain !== undefined) return { kind: "refused", reason: `a domain ${order.vm} is there already` };
      this.#domains.set(order.vm, {
        plan: order.plan,
        used: resourcesOf(order.plan.subject.spec),
        state: "paused",
      });
      return { kind: "done", cookie: "", link: SIMULATED_LINK };
    }
    if (domain === undefined) return ENDED_WITHOUT[order.step];
    const report = (): MoveOutcome => ({ kind: "done", cookie: "", domain: this.#report(order.vm) });
    switch (order.step) {
      case "begin":
        return { kind: "done", cookie: "", xml: "<domain/>" };
      case "perform":
        domain.state = "paused";
        break;
      case "finish":
        if (domain.state === "paused") this.#begun(order.vm, domain.plan?.attempt ?? 0);
        domain.state = "running";
        break;
      case "resume":
        domain.state = "running";
        break;
      case "abandon":
        if (domain.state === "running") return report();
        this.#domains.delete(order.vm);
        return { kind: "done" };
      case "confirm":
        this.#domains.delete(order.vm);
        return { kind: "done" };
    }
    this.#tell({ kind: "changed" });
    return report();
  }

  #begun(vm: string, attempt: number): void {
    const key = `${vm}/${attempt}`;
    this.#beginnings.set(key, (this.#beginnings.get(key) ?? 0) + 1);
  }

  #report(vm: string): DomainReport {
    return reportOf(vm, this.#domains.get(vm) ?? { used: NO_RESOURCES, state: "stopped" });
  }

  #later<Outcome extends { readonly kind: string }>(
    delayMs: number,
    carryOut: () => Outcome,
  ): Promise<Outcome | { readonly kind: "unknown"; readonly reason: string }> {
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

const NO_DOMAIN = { kind: "refused", reason: "there is no such domain" } as const;
const NOTHING_LEFT = { kind: "done" } as const;

/** What a step comes to where the domain is gone: giving up and cleaning up have nothing left to do. */
const ENDED_WITHOUT: Readonly<Record<Exclude<MoveOrder["step"], "prepare">, MoveOutcome>> = {
  begin: NO_DOMAIN,
  perform: NO_DOMAIN,
  finish: NO_DOMAIN,
  abandon: NOTHING_LEFT,
  confirm: NOTHING_LEFT,
  resume: NOTHING_LEFT,
};

const SIMULATED_LINK = { address: "127.0.0.1", port: 1, key: "A".repeat(43) };

function reportOf(uuid: string, { state, used, plan }: SimulatedDomain): DomainReport {
  return { uuid, state, used, ...(plan === undefined ? {} : { plan }) };
}
