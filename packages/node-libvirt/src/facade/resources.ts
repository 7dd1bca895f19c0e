import type { Caller } from "../client/caller.ts";
import type { CallOptions } from "../connection/connection.ts";
import type { Domain } from "../table/fields.ts";
import { qemuProcedures, resourceProcedures as rows } from "../table/resources.ts";
import { type Affects, affects } from "./metadata.ts";
import { type DomainRef, flags, type ParamRecord, paramRecord, wireDomain } from "./wire.ts";

/** Groups of figures (`virDomainStatsTypes`), by bit. */
const STATS_BIT = {
  state: 0,
  cpu: 1,
  balloon: 2,
  vcpu: 3,
  interface: 4,
  block: 5,
  perf: 6,
  iothread: 7,
  memory: 8,
  dirtyRate: 9,
  vm: 10,
} as const;

/** A group of figures to ask for. */
export type StatsGroup = keyof typeof STATS_BIT;

/** Which figures to ask for, and about which domains. */
export interface StatsQuery extends CallOptions {
  /** Groups; all the driver has where none is given. */
  readonly groups?: readonly StatsGroup[];
  /** Domains; all where none is given. */
  readonly domains?: readonly DomainRef[];
  /** Leaves out what a busy or hung guest would have to be asked for. Default true. */
  readonly noWait?: boolean;
}

/** The figures of one domain, by libvirt's names such as `cpu.time` or `balloon.current`. */
export interface DomainStats {
  readonly domain: Domain;
  readonly stats: ParamRecord;
}

/** An interface of a guest with its addresses. */
export interface GuestInterface {
  readonly name: string;
  readonly mac: string | null;
  readonly addresses: readonly {
    readonly family: "ipv4" | "ipv6";
    readonly address: string;
    readonly prefix: number;
  }[];
}

/** What domains use and may use, their devices, and the agent inside the guest. */
export class Resources {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Figures of all domains in one call (`virConnectGetAllDomainStats`). */
  async stats(query: StatsQuery = {}): Promise<readonly DomainStats[]> {
    const { groups = [], domains = [], noWait = true } = query;
    const stats = flags(...groups.map((group) => [true, STATS_BIT[group]] as const));
    const args = { domains: domains.map(wireDomain), stats, flags: flags([noWait, 29]) };
    const { records } = await this.#caller.call(rows.connectGetAllDomainStats, args, query);
    return records.map(({ domain, params }) => ({ domain, stats: paramRecord(params) }));
  }

  /** Sets the memory the guest has now (balloon) or, with `config`, at its next start. */
  async setMemoryKiB(ref: DomainRef, memoryKiB: number, options: Affects = {}): Promise<void> {
    const args = { domain: wireDomain(ref), memoryKiB: BigInt(memoryKiB), flags: affects(options) };
    await this.#caller.call(rows.domainSetMemoryFlags, args, { ...options, order: ref.uuid });
  }

  /** Sets the number of virtual CPUs. */
  async setVcpus(ref: DomainRef, vcpus: number, options: Affects = {}): Promise<void> {
    const args = { domain: wireDomain(ref), vcpus, flags: affects(options) };
    await this.#caller.call(rows.domainSetVcpusFlags, args, { ...options, order: ref.uuid });
  }

  /** Adds a device described in XML. */
  async attachDevice(ref: DomainRef, xml: string, options: Affects = {}): Promise<void> {
    const args = { domain: wireDomain(ref), xml, flags: affects(options) };
    await this.#caller.call(rows.domainAttachDeviceFlags, args, { ...options, order: ref.uuid });
  }

  /** Asks for a device to be removed; the guest may take its time (`domain.deviceRemoved` tells). */
  async detachDevice(ref: DomainRef, xml: string, options: Affects = {}): Promise<void> {
    const args = { domain: wireDomain(ref), xml, flags: affects(options) };
    await this.#caller.call(rows.domainDetachDeviceFlags, args, { ...options, order: ref.uuid });
  }

  /** Changes a device, such as the medium of a drive. */
  async updateDevice(ref: DomainRef, xml: string, options: Affects = {}): Promise<void> {
    const args = { domain: wireDomain(ref), xml, flags: affects(options) };
    await this.#caller.call(rows.domainUpdateDeviceFlags, args, { ...options, order: ref.uuid });
  }

  /** The guest's addresses, from DHCP leases, its agent, or the machine's ARP table. */
  async interfaceAddresses(
    ref: DomainRef,
    source: "lease" | "agent" | "arp" = "lease",
    options: CallOptions = {},
  ): Promise<readonly GuestInterface[]> {
    const args = { domain: wireDomain(ref), source: { lease: 0, agent: 1, arp: 2 }[source], flags: 0 };
    const { interfaces } = await this.#caller.call(rows.domainInterfaceAddresses, args, options);
    return interfaces.map(({ name, mac, addresses }) => ({
      name,
      mac,
      addresses: addresses.map(({ type, address, prefix }) => ({
        family: type === 0 ? "ipv4" : "ipv6",
        address,
        prefix,
      })),
    }));
  }

  /** Sends a JSON command to the QEMU guest agent and returns its JSON answer. */
  async agentCommand(ref: DomainRef, command: string, options: CallOptions = {}): Promise<string | null> {
    // -1 is the agent's own default wait; our deadline ends ours.
    const args = { domain: wireDomain(ref), command, timeoutS: -1, flags: 0 };
    return (await this.#caller.call(qemuProcedures.qemuDomainAgentCommand, args, options)).result;
  }

  /** Freezes the guest's file systems, all or those named. Returns how many. */
  async freeze(ref: DomainRef, mountpoints: readonly string[] = [], options: CallOptions = {}): Promise<number> {
    const args = { domain: wireDomain(ref), mountpoints, flags: 0 };
    return (await this.#caller.call(rows.domainFsfreeze, args, { ...options, order: ref.uuid })).filesystems;
  }

  /** Lets frozen file systems go on. Returns how many. */
  async thaw(ref: DomainRef, mountpoints: readonly string[] = [], options: CallOptions = {}): Promise<number> {
    const args = { domain: wireDomain(ref), mountpoints, flags: 0 };
    return (await this.#caller.call(rows.domainFsthaw, args, { ...options, order: ref.uuid })).filesystems;
  }
}
