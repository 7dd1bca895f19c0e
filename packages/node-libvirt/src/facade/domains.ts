import type { Client } from "../client/client.ts";
import type { Subscription } from "../client/subscriptions.ts";
import type { CallOptions } from "../connection/connection.ts";
import { ErrorCode } from "../fault.ts";
import { domainProcedures as rows } from "../table/domain.ts";
import type { Domain } from "../table/fields.ts";
import { type DomainState, domainState, type LifecycleEvent, lifecycleEvent } from "./domain-state.ts";
import { type DomainRef, flags, orAbsent, safeNumber, uuidInXml, wireDomain } from "./wire.ts";

/** Which domains to list; without any of them, all. */
export interface DomainFilter {
  /** True: running or paused; false: neither. */
  readonly active?: boolean;
  /** True: defined; false: gone once they stop. */
  readonly persistent?: boolean;
}

/** How a domain is to start. */
export interface StartOptions extends CallOptions {
  /** Starts it with its CPUs stopped. */
  readonly paused?: boolean;
  /** Boots afresh and drops a managed save image. */
  readonly forceBoot?: boolean;
}

/** What to take away with a definition; libvirt refuses to undefine a domain that has what is not named here. */
export interface UndefineOptions extends CallOptions {
  readonly managedSave?: boolean;
  readonly snapshotsMetadata?: boolean;
  readonly nvram?: boolean;
  readonly keepNvram?: boolean;
  readonly checkpointsMetadata?: boolean;
}

/** How to stop at once. */
export interface DestroyOptions extends CallOptions {
  /** Gives the guest's process time to write its caches; fails rather than kill it. */
  readonly graceful?: boolean;
  /** Does not wait for this domain's earlier jobs, for one that hangs. */
  readonly urgent?: boolean;
}

/** A domain's state and libvirt's reason for it, whose meaning depends on the state. */
export interface StateReport {
  readonly state: DomainState;
  readonly reason: number;
}

/** The figures of `virDomainGetInfo`. */
export interface DomainInfo {
  readonly state: DomainState;
  readonly maxMemoryKiB: number;
  readonly memoryKiB: number;
  readonly vcpus: number;
  readonly cpuTimeNs: bigint;
}

/** A change in a domain's life. */
export interface DomainLifecycle {
  readonly domain: Domain;
  readonly event: LifecycleEvent;
  readonly detail: string;
}

/**
 * Domains, which are virtual machines: finding, defining, starting, stopping. All calls reject with a `CallFault`;
 * jobs on one domain are done in the order of the calls.
 */
export class Domains {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /** All domains, running or not (`virConnectListAllDomains`). */
  async list(filter: DomainFilter = {}, options?: CallOptions): Promise<readonly Domain[]> {
    const { active, persistent } = filter;
    const set = flags([active, 0], [active === false, 1], [persistent, 2], [persistent === false, 3]);
    return (await this.#client.call(rows.connectListAllDomains, { needResults: 1, flags: set }, options)).domains;
  }

  /** The domain of that name, or undefined. */
  async lookupByName(name: string, options?: CallOptions): Promise<Domain | undefined> {
    const found = this.#client.call(rows.domainLookupByName, { name }, options);
    return (await orAbsent(found, ErrorCode.noDomain))?.domain;
  }

  /** The domain of that UUID, or undefined. */
  async lookupByUuid(uuid: string, options?: CallOptions): Promise<Domain | undefined> {
    const found = this.#client.call(rows.domainLookupByUuid, { uuid }, options);
    return (await orAbsent(found, ErrorCode.noDomain))?.domain;
  }

  /** The running domain of that id, or undefined. */
  async lookupById(id: number, options?: CallOptions): Promise<Domain | undefined> {
    const found = this.#client.call(rows.domainLookupById, { id }, options);
    return (await orAbsent(found, ErrorCode.noDomain))?.domain;
  }

  /** Defines a persistent domain, or changes its definition, without starting it. */
  async define(xml: string, options: CallOptions & { readonly validate?: boolean } = {}): Promise<Domain> {
    const ordered = { ...options, order: uuidInXml(xml) };
    if (options.validate !== true) return (await this.#client.call(rows.domainDefineXml, { xml }, ordered)).domain;
    return (await this.#client.call(rows.domainDefineXmlFlags, { xml, flags: 1 }, ordered)).domain;
  }

  /** Creates and starts a transient domain, which is gone once it stops. */
  async create(xml: string, options: StartOptions = {}): Promise<Domain> {
    const args = { xml, flags: flags([options.paused, 0]) };
    return (await this.#client.call(rows.domainCreateXml, args, { ...options, order: uuidInXml(xml) })).domain;
  }

  /** Starts a defined domain, from its managed save image where it has one. */
  async start(ref: DomainRef, options: StartOptions = {}): Promise<void> {
    const args = { domain: wireDomain(ref), flags: flags([options.paused, 0], [options.forceBoot, 3]) };
    await this.#client.call(rows.domainCreateWithFlags, args, { ...options, order: ref.uuid });
  }

  /** Asks the guest to shut down; it may take its time or not comply. */
  async shutdown(ref: DomainRef, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.domainShutdown, { domain: wireDomain(ref) }, { ...options, order: ref.uuid });
  }

  /** Asks the guest to reboot. */
  async reboot(ref: DomainRef, options?: CallOptions): Promise<void> {
    const args = { domain: wireDomain(ref), flags: 0 };
    await this.#client.call(rows.domainReboot, args, { ...options, order: ref.uuid });
  }

  /** Presses the reset button. */
  async reset(ref: DomainRef, options?: CallOptions): Promise<void> {
    const args = { domain: wireDomain(ref), flags: 0 };
    await this.#client.call(rows.domainReset, args, { ...options, order: ref.uuid });
  }

  /** Stops the domain's CPUs; its memory stays. */
  async suspend(ref: DomainRef, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.domainSuspend, { domain: wireDomain(ref) }, { ...options, order: ref.uuid });
  }

  /** Lets a suspended domain run on. */
  async resume(ref: DomainRef, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.domainResume, { domain: wireDomain(ref) }, { ...options, order: ref.uuid });
  }

  /** Stops the domain at once, as if its power were cut. Its definition stays. */
  async destroy(ref: DomainRef, options: DestroyOptions = {}): Promise<void> {
    const args = { domain: wireDomain(ref), flags: flags([options.graceful, 0]) };
    const order = options.urgent === true ? undefined : ref.uuid;
    await this.#client.call(rows.domainDestroyFlags, args, { ...options, order });
  }

  /** Takes the definition away; a running domain becomes transient. */
  async undefine(ref: DomainRef, options: UndefineOptions = {}): Promise<void> {
    const set = flags(
      [options.managedSave, 0],
      [options.snapshotsMetadata, 1],
      [options.nvram, 2],
      [options.keepNvram, 3],
      [options.checkpointsMetadata, 4],
    );
    const args = { domain: wireDomain(ref), flags: set };
    await this.#client.call(rows.domainUndefineFlags, args, { ...options, order: ref.uuid });
  }

  /** Gives a stopped domain another name. */
  async rename(ref: DomainRef, newName: string, options?: CallOptions): Promise<void> {
    const args = { domain: wireDomain(ref), newName, flags: 0 };
    await this.#client.call(rows.domainRename, args, { ...options, order: ref.uuid });
  }

  /** The state now and why. */
  async state(ref: DomainRef, options?: CallOptions): Promise<StateReport> {
    const answer = await this.#client.call(rows.domainGetState, { domain: wireDomain(ref), flags: 0 }, options);
    return { state: domainState(answer.state), reason: answer.reason };
  }

  /** State, memory, CPUs and CPU time used. */
  async info(ref: DomainRef, options?: CallOptions): Promise<DomainInfo> {
    const answer = await this.#client.call(rows.domainGetInfo, { domain: wireDomain(ref) }, options);
    return {
      state: domainState(answer.state),
      maxMemoryKiB: safeNumber(answer.maxMemoryKiB, "maxMemoryKiB"),
      memoryKiB: safeNumber(answer.memoryKiB, "memoryKiB"),
      vcpus: answer.vcpus,
      cpuTimeNs: answer.cpuTimeNs,
    };
  }

  /** The description in XML: of the running domain, or with `inactive` of what the next start gets. */
  async xml(
    ref: DomainRef,
    options: CallOptions & { readonly inactive?: boolean; readonly secure?: boolean } = {},
  ): Promise<string> {
    const set = flags([options.secure, 0], [options.inactive, 1]);
    return (await this.#client.call(rows.domainGetXmlDesc, { domain: wireDomain(ref), flags: set }, options)).xml;
  }

  /** Whether it is running or paused. */
  async isActive(ref: DomainRef, options?: CallOptions): Promise<boolean> {
    return (await this.#client.call(rows.domainIsActive, { domain: wireDomain(ref) }, options)).active !== 0;
  }

  /** Whether it has a definition that outlives its run. */
  async isPersistent(ref: DomainRef, options?: CallOptions): Promise<boolean> {
    return (await this.#client.call(rows.domainIsPersistent, { domain: wireDomain(ref) }, options)).persistent !== 0;
  }

  /** Whether the daemon starts it when the machine boots. */
  async autostart(ref: DomainRef, options?: CallOptions): Promise<boolean> {
    return (await this.#client.call(rows.domainGetAutostart, { domain: wireDomain(ref) }, options)).autostart !== 0;
  }

  /** Sets whether the daemon starts it when the machine boots. */
  async setAutostart(ref: DomainRef, autostart: boolean, options?: CallOptions): Promise<void> {
    const args = { domain: wireDomain(ref), autostart: autostart ? 1 : 0 };
    await this.#client.call(rows.domainSetAutostart, args, { ...options, order: ref.uuid });
  }

  /** Calls `handler` whenever a domain is defined, started, suspended, stopped and so on. */
  onLifecycle(handler: (change: DomainLifecycle) => void, only?: Domain): Promise<Subscription> {
    return this.#client.subscribe(
      "domain.lifecycle",
      ({ domain, event, detail }) => handler({ domain, ...lifecycleEvent(event, detail) }),
      only,
    );
  }
}
