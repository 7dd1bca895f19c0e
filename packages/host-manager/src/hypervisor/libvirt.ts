import type { Duplex } from "node:stream";
import { backoffMs, type CancelTimer, type Clock, err, ok, type Result, type Rng } from "@muster/base";
import type { UnderlayPeer } from "@muster/protocol";
import { type Domain, ErrorCode, isLibvirtError, Libvirt } from "node-libvirt";
import { type LogPart, readLogPart } from "../guest/serial-log.ts";
import type { Mover } from "../move/port.ts";
import { domainXml } from "./domain-xml.ts";
import { stopGracefully } from "./graceful-stop.ts";
import { snapshotsOf } from "./guest-operations.ts";
import { isFinal, newEnough, undefine } from "./guest-starter.ts";
import type { LibvirtGuests } from "./libvirt-guests.ts";
import { isTestDriver, LibvirtSurvey, reportState } from "./libvirt-survey.ts";
import { planInDomainXml } from "./metadata.ts";
import type { DomainOperation, SnapshotReport } from "./operation.ts";
import type { ActOutcome, DomainAction, DomainPlan, Hypervisor, HypervisorEvent, SurveyOutcome } from "./port.ts";

export type LibvirtHypervisorOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly socketPath: string;
  readonly uri: string;
  /** What real guests need on this host; libvirt's test driver needs none of it. */
  readonly guests?: LibvirtGuests;
  /** Deadline of a question. */
  readonly readMs: number;
  /** Deadline of an order. */
  readonly orderMs: number;
};

const REOPEN_MS = 100;
const REOPEN_MS_MAX = 5_000;
/** Events come in bursts; one survey answers for all of a burst. */
const CHANGES_MS = 50;

/** A libvirt daemon as a hypervisor; survives its restarts and its silence. */
export function libvirtHypervisor(options: LibvirtHypervisorOptions): Hypervisor {
  return new LibvirtHypervisor(options);
}

class LibvirtHypervisor implements Hypervisor {
  readonly mover: Mover | undefined;
  readonly #options: LibvirtHypervisorOptions;
  readonly #survey: LibvirtSurvey;
  #listener: (event: HypervisorEvent) => void = () => {};
  #libvirt: Libvirt | undefined;
  #failures = 0;
  #tidying: Promise<unknown> = Promise.resolve();
  #cancelReopen: CancelTimer = () => {};
  #cancelChanged: CancelTimer | undefined;
  readonly #closing = new AbortController();

  constructor(options: LibvirtHypervisorOptions) {
    this.#options = options;
    this.#survey = new LibvirtSurvey((vm) => options.guests?.accessOf(vm));
    this.mover = options.guests?.moverOver({
      libvirt: () => this.#connected(),
      report: (domain) => {
        // It may have come from another host, under a definition that was not seen here before.
        this.#survey.forget(domain.uuid);
        return this.#survey.report(domain, this.#connected().domains);
      },
    });
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  open(listener: (event: HypervisorEvent) => void): void {
    this.#listener = listener;
    this.#options.guests?.onChange(() => this.#changed());
    void this.#connect();
  }

  async survey(): Promise<SurveyOutcome> {
    const { readMs: timeoutMs } = this.#options;
    // Questions and orders have connections of their own: a host that only answers would use up the tries of a start.
    if (this.#libvirt?.isConnected === false)
      return { kind: "unknown", reason: "not every connection to libvirt is back" };
    try {
      const libvirt = this.#connected();
      const survey = await this.#survey.take(libvirt, { timeoutMs });
      if (survey.kind === "unknown" || isTestDriver(survey.facts)) return survey;
      return { ...survey, facts: (await this.#options.guests?.facts(survey.facts)) ?? survey.facts };
    } catch (cause) {
      return { kind: "unknown", reason: reasonOf(cause) };
    }
  }

  async start(plan: DomainPlan): Promise<ActOutcome> {
    await this.#tidying;
    return this.#order((libvirt) => this.#start(libvirt, plan));
  }

  giveUp(vm: string): void {
    this.#options.guests?.giveUp(vm);
  }

  act(vm: string, action: DomainAction): Promise<ActOutcome> {
    return this.#order((libvirt) => this.#act(libvirt, vm, action));
  }

  async log(vm: string, offset: number | undefined, max: number): Promise<LogPart | undefined> {
    const { guests } = this.#options;
    return guests === undefined ? undefined : readLogPart(guests.folders.paths(vm).serialLog, offset, max);
  }

  operate(vm: string, operation: DomainOperation): Promise<ActOutcome> {
    return this.#order(async (libvirt) => {
      const domain = await libvirt.domains.lookupByUuid(vm);
      const { guests } = this.#options;
      if (domain === undefined) return { kind: "refused", reason: `there is no guest ${vm}` };
      if (operation.kind === "cut-off" && guests === undefined) return this.#act(libvirt, vm, "stop");
      if (guests === undefined)
        return { kind: "refused", reason: "this host manager was set up without a place for guests" };
      const done = await guests.operations.carryOut(libvirt, domain, operation);
      this.#survey.forget(vm);
      return done.ok ? this.#done(vm, domain, libvirt.domains) : { kind: "refused", reason: done.error };
    });
  }

  async snapshots(vm: string): Promise<readonly SnapshotReport[] | undefined> {
    const libvirt = this.#connected();
    const domain = await libvirt.domains.lookupByUuid(vm);
    return domain === undefined ? undefined : snapshotsOf(libvirt, domain);
  }

  async learnUnderlay(peers: readonly UnderlayPeer[]): Promise<void> {
    await this.#options.guests?.learnUnderlay(peers);
  }

  async console(vm: string, force: boolean): Promise<Result<Duplex, string>> {
    try {
      return ok(await this.#connected().consoles.open({ uuid: vm }, { force }));
    } catch (cause) {
      return err(reasonOf(cause));
    }
  }

  async discard(vms: readonly string[]): Promise<void> {
    const { guests } = this.#options;
    if (guests === undefined) return;
    const { domains } = this.#connected();
    await this.#beforeStarts(async () => {
      for (const vm of vms) if ((await domains.lookupByUuid(vm)) === undefined) await guests.clear(vm);
    });
  }

  async tidy(known: ReadonlySet<string>): Promise<void> {
    const { guests } = this.#options;
    if (guests === undefined) return;
    await this.#beforeStarts(async () => {
      const { domains } = this.#connected();
      const here = await domains.list();
      for (const { uuid } of await domains.list({ active: true })) await guests.noteRunning(uuid);
      await guests.tidy(new Set([...known, ...here.map(({ uuid }) => uuid)]));
    });
  }

  /** What is ordered to start from now on waits: the folder of a VM that is started anew must not be taken for a leftover. */
  async #beforeStarts(carryOut: () => Promise<void>): Promise<void> {
    const done = this.#tidying.then(carryOut);
    this.#tidying = done.catch(() => undefined);
    await done;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#cancelReopen();
    this.#cancelChanged?.();
    await this.#libvirt?.close();
  }

  /** The first opening; what is lost afterwards, the client opens again by itself. */
  async #connect(): Promise<void> {
    const { clock, rng, socketPath, uri, orderMs, readMs } = this.#options;
    try {
      await this.#options.guests?.open();
      const libvirt = await Libvirt.open({ socketPath, uri, callTimeoutMs: orderMs, openTimeoutMs: readMs });
      await this.#use(libvirt);
    } catch (cause) {
      if (this.#closed) return;
      if (this.#failures === 0) this.#listener({ kind: "down", reason: reasonOf(cause) });
      const delayMs = backoffMs({ attempt: this.#failures, baseMs: REOPEN_MS, maxMs: REOPEN_MS_MAX }, rng);
      this.#failures += 1;
      this.#cancelReopen = clock.setTimer(delayMs, () => void this.#connect());
    }
  }

  async #use(libvirt: Libvirt): Promise<void> {
    if (this.#closed) return libvirt.close();
    libvirt.on("disconnected", (_role, fault) => this.#listener({ kind: "down", reason: fault.message }));
    libvirt.on("relist", () => {
      this.#survey.forgetAll();
      this.#listener({ kind: "up" });
    });
    await libvirt.domains.onLifecycle(({ domain, event }) => {
      if (event === "defined" || event === "undefined") this.#survey.forget(domain.uuid);
      this.#changed();
    });
    this.#libvirt = libvirt;
    this.#listener({ kind: "up" });
    void this.#learnVirtType(libvirt);
  }

  /** Beforehand, so that VMs can ask for it by its label; a start asks again where this did not end well. */
  async #learnVirtType(libvirt: Libvirt): Promise<void> {
    const { guests } = this.#options;
    try {
      if (guests === undefined || isTestDriver(await this.#survey.facts(libvirt))) return;
      await guests.virt.resolve(libvirt);
      if (!this.#closed) this.#changed();
    } catch {
      // The connection was lost, or the host manager stops.
    }
  }

  #changed(): void {
    this.#cancelChanged ??= this.#options.clock.setTimer(CHANGES_MS, () => {
      this.#cancelChanged = undefined;
      this.#listener({ kind: "changed" });
    });
  }

  #connected(): Libvirt {
    if (this.#libvirt === undefined) throw new Error("there is no connection to libvirt yet");
    return this.#libvirt;
  }

  /** libvirt's own no is final; everything else leaves open whether the daemon acted (V3). */
  async #order(carryOut: (libvirt: Libvirt) => Promise<ActOutcome>): Promise<ActOutcome> {
    try {
      return await carryOut(this.#connected());
    } catch (cause) {
      const kind = isFinal(cause) ? "refused" : "unknown";
      return { kind, reason: reasonOf(cause) };
    }
  }

  /** Looks before it defines: to libvirt, defining a UUID again is a change of the domain that has it (V1). */
  async #start(libvirt: Libvirt, plan: DomainPlan): Promise<ActOutcome> {
    const { domains } = libvirt;
    const present = await domains.lookupByUuid(plan.vm);
    if (present !== undefined) {
      const there = planInDomainXml(await domains.xml(present));
      if (there?.attempt !== plan.attempt) {
        return { kind: "refused", reason: `a domain ${plan.vm} of another attempt or owner is there already` };
      }
      if (reportState((await domains.state(present)).state) !== "stopped") {
        await this.#options.guests?.noteStarted(plan);
        return this.#done(plan.vm, present, domains);
      }
    }
    const facts = await this.#survey.facts(libvirt);
    if (isTestDriver(facts)) return this.#startPlain(libvirt, plan, present, "test");
    const { guests } = this.#options;
    if (guests === undefined)
      return { kind: "refused", reason: "this host manager was set up without a place for guests" };
    const able = newEnough(facts.libvirtVersion);
    if (!able.ok) return { kind: "refused", reason: able.error };
    const { guest } = plan.subject;
    if (guest === undefined) {
      const virtType = await guests.virt.resolve(libvirt);
      if (!virtType.ok) return { kind: "refused", reason: virtType.error };
      return this.#startPlain(libvirt, plan, present, virtType.value);
    }
    const started = await guests.starter.start(libvirt, plan, guest, present);
    return started.ok
      ? this.#done(plan.vm, started.value, domains)
      : { kind: "refused", reason: reasonOf(started.error) };
  }

  /** A domain without disk and network: all that libvirt's test driver knows. */
  async #startPlain(
    { domains }: Libvirt,
    plan: DomainPlan,
    present: Domain | undefined,
    type: string,
  ): Promise<ActOutcome> {
    const domain = present ?? (await domains.define(domainXml(plan, type)));
    try {
      await domains.start(domain);
    } catch (cause) {
      if (isFinal(cause) && present === undefined) await domains.undefine(domain);
      throw cause;
    }
    return this.#done(plan.vm, domain, domains);
  }

  async #act(libvirt: Libvirt, vm: string, action: DomainAction): Promise<ActOutcome> {
    const { domains } = libvirt;
    const domain = await domains.lookupByUuid(vm);
    if (action === "delete") return this.#delete(vm, domain, libvirt);
    if (domain === undefined) return { kind: "refused", reason: `there is no domain ${vm}` };
    const isDone = async () => reportState((await domains.state(domain)).state) === STATE_WANTED[action];
    const { guests } = this.#options;
    if (action !== "reboot") guests?.step(action);
    if (!(await isDone())) {
      if (action === "stop" && !(await this.#stop(libvirt, domain))) return { kind: "unknown", reason: "interrupted" };
      if (action !== "stop") await domains[action](domain).catch(unlessDone(isDone));
    }
    guests?.step("ended");
    return this.#done(vm, domain, domains);
  }

  /** Whether it ended. The test driver's domains hold nothing that could be lost. */
  async #stop(libvirt: Libvirt, domain: Domain): Promise<boolean> {
    const { clock, guests } = this.#options;
    const stopMs = isTestDriver(await this.#survey.facts(libvirt)) ? 0 : (guests?.stopMs ?? 0);
    return stopGracefully(libvirt, domain, { clock, stopMs, signal: this.#closing.signal });
  }

  /** The domain first: whatever else there is, a crash meanwhile leaves marked as to be removed. */
  async #delete(vm: string, domain: Domain | undefined, libvirt: Libvirt): Promise<ActOutcome> {
    const { domains } = libvirt;
    const isReal = !isTestDriver(await this.#survey.facts(libvirt));
    const guests = isReal ? this.#options.guests : undefined;
    await guests?.noteDeleting(vm);
    if (domain !== undefined) {
      guests?.step("destroy");
      try {
        await domains.destroy(domain);
      } catch (cause) {
        if (!isLibvirtError(cause, ErrorCode.operationInvalid) && !isLibvirtError(cause, ErrorCode.noDomain))
          throw cause;
      }
      guests?.step("undefine");
      await undefine(libvirt, domain, isReal);
    }
    await guests?.clear(vm);
    guests?.step("ended");
    this.#survey.forget(vm);
    return { kind: "done" };
  }

  async #done(vm: string, domain: Domain, domains: Libvirt["domains"]): Promise<ActOutcome> {
    const report = await this.#survey.report(domain, domains);
    return report === undefined
      ? { kind: "unknown", reason: `domain ${vm} went away during the order` }
      : { kind: "done", domain: report };
  }
}

/** State in which there is nothing left to do for an order. */
const STATE_WANTED = { stop: "stopped", suspend: "paused", resume: "running", reboot: undefined } as const;

/** An order of a host manager that ended may still have been under way, and have done what libvirt now refuses (H2). */
function unlessDone(isDone: () => Promise<boolean>): (cause: unknown) => Promise<void> {
  return async (cause) => {
    if (!isFinal(cause) || !(await isDone())) throw cause;
  };
}

function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.replace(/\p{Cc}/gu, " ").slice(0, 200);
}
