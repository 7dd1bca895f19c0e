/**
 * Live migration as the hypervisors of the simulator have it: a guest that is prepared ends with the host manager that
 * prepared it, sending takes time and may fail, and leaves the guest paused at its source.
 */
import type { Rng } from "@muster/base";
import type { MoveOrder, MoveOutcome } from "@muster/host-manager";
import { resourcesOf } from "@muster/protocol";
import { type Domain, type DomainChange, type MoveCause, reportOf } from "./domain.ts";
import type { Timeline } from "./timeline.ts";

type Domains = Map<string, Domain>;

/** Finds what stands on the machine behind the address of a link. */
export type MoveNetwork = { readonly address: string; readonly find: (address: string) => Domains | undefined };

const KEY = "k".repeat(43);
const COOKIE = "Y29va2ll";

export class MachineMover {
  readonly #domains: Domains;
  readonly #timeline: Timeline;
  readonly #rng: Rng;
  readonly #onChange: (change: DomainChange) => void;
  readonly #network: MoveNetwork | undefined;
  /** Guests that are being sent, with what ends it: `true` when all went over. */
  readonly #sending = new Map<string, (sent: boolean) => void>();

  constructor(
    domains: Domains,
    timeline: Timeline,
    rng: Rng,
    onChange: (change: DomainChange) => void,
    network: MoveNetwork | undefined,
  ) {
    this.#domains = domains;
    this.#timeline = timeline;
    this.#rng = rng;
    this.#onChange = onChange;
    this.#network = network;
  }

  get facts(): { readonly moves?: true } {
    return this.#network === undefined ? {} : { moves: true };
  }

  carryOut(id: string, order: MoveOrder): MoveOutcome {
    const domain = this.#domains.get(order.vm);
    switch (order.step) {
      case "begin":
        return this.#begin(id, order.vm, domain);
      case "prepare":
        return this.#prepare(id, order, domain);
      case "finish":
        return this.#finish(order.vm, domain);
      case "abandon":
        if (domain !== undefined && domain.moving?.role !== "incoming" && domain.state === "running")
          return done(order.vm, domain);
        this.#remove(order.vm, domain, "move-abandon");
        return { kind: "done" };
      case "confirm":
        this.#remove(order.vm, domain, "move-confirm");
        return { kind: "done" };
      case "resume":
        return this.#resume(order.vm, domain);
      case "perform":
        return { kind: "refused", reason: "it is sent, not carried out at once" };
    }
  }

  /** Sends the guest over; `told` hears how that ended. */
  perform(id: string, { vm, link }: MoveOrder & { step: "perform" }, told: (outcome: MoveOutcome) => void): void {
    const domain = this.#domains.get(vm);
    if (domain?.state !== "running" || domain.moving?.role !== "outgoing") {
      told({ kind: "refused", reason: "it does not run, or was not begun" });
      return;
    }
    const end = (sent: boolean): void => {
      if (this.#sending.get(vm) !== end) return;
      this.#sending.delete(vm);
      const there = this.#network?.find(link.address)?.get(vm);
      const arrived = there?.moving?.role === "incoming" && there.moving.id === id;
      if (!sent || !arrived || this.#domains.get(vm) !== domain || domain.state !== "running") {
        told({ kind: "refused", reason: "it could not be sent" });
        return;
      }
      there.moving = { id, role: "incoming", complete: true };
      domain.moving = { id, role: "held", complete: false };
      this.#setState(vm, domain, "paused", "move-perform");
      told({ kind: "done", cookie: COOKIE });
    };
    this.#sending.set(vm, end);
    this.#timeline.after(100 + this.#rng.int(4_000), () => end(this.#rng.int(6) > 0));
  }

  cancel(vm: string): void {
    this.#sending.get(vm)?.(false);
  }

  progress(vm: string): { readonly doneMiB: number; readonly totalMiB: number } | undefined {
    return this.#sending.has(vm) ? { doneMiB: 1, totalMiB: 2 } : undefined;
  }

  /** The host manager is gone: what it prepared ends with it, what it was sending is over or never happened. */
  orphan(): void {
    for (const end of [...this.#sending.values()]) end(this.#rng.int(2) === 0);
    for (const [vm, domain] of [...this.#domains])
      if (domain.moving?.role === "incoming") this.#remove(vm, domain, "move-orphaned");
  }

  powerLoss(): void {
    this.#sending.clear();
  }

  #begin(id: string, vm: string, domain: Domain | undefined): MoveOutcome {
    if (domain?.state !== "running") return { kind: "refused", reason: "it does not run" };
    domain.moving = { id, role: "outgoing", complete: false };
    return { kind: "done", cookie: COOKIE, xml: `<domain><uuid>${vm}</uuid></domain>` };
  }

  #prepare(id: string, { vm, plan }: MoveOrder & { step: "prepare" }, present: Domain | undefined): MoveOutcome {
    if (present !== undefined) return { kind: "refused", reason: "a domain stands here" };
    if (this.#network === undefined || this.#rng.int(10) === 0) return { kind: "refused", reason: "it has no image" };
    const moving = { id, role: "incoming", complete: false } as const;
    const domain: Domain = { plan, used: resourcesOf(plan.subject.spec), state: "paused", moving };
    this.#domains.set(vm, domain);
    this.#onChange({ kind: "made", vm, domain, cause: "move-prepare", command: id });
    return { kind: "done", cookie: COOKIE, link: { address: this.#network.address, port: 49_152, key: KEY } };
  }

  #finish(vm: string, domain: Domain | undefined): MoveOutcome {
    if (domain === undefined) return { kind: "refused", reason: "there is no such domain" };
    if (domain.moving?.role !== "incoming") return done(vm, domain);
    if (!domain.moving.complete || this.#rng.int(10) === 0) {
      this.#remove(vm, domain, "move-finish");
      return { kind: "refused", reason: "the guest did not arrive whole" };
    }
    const { id } = domain.moving;
    domain.moving = undefined;
    this.#setState(vm, domain, "running", "move-finish", id);
    return done(vm, domain);
  }

  #resume(vm: string, domain: Domain | undefined): MoveOutcome {
    this.cancel(vm);
    if (domain === undefined) return { kind: "done" };
    const { moving } = domain;
    domain.moving = undefined;
    if (domain.state === "paused") this.#setState(vm, domain, "running", "move-resume", moving?.id);
    return done(vm, domain);
  }

  #remove(vm: string, domain: Domain | undefined, cause: MoveCause): void {
    if (domain === undefined) return;
    this.#sending.delete(vm);
    this.#domains.delete(vm);
    this.#onChange({ kind: "removed", vm, domain, cause, command: domain.moving?.id ?? "" });
  }

  #setState(vm: string, domain: Domain, state: Domain["state"], cause: MoveCause, command?: string): void {
    if (domain.state === state) return;
    domain.state = state;
    this.#onChange({ kind: "state", vm, domain, cause, command: command ?? domain.moving?.id ?? "" });
  }
}

function done(vm: string, domain: Domain): MoveOutcome {
  return { kind: "done", domain: reportOf(vm, domain) };
}
