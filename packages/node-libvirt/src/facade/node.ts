import type { Caller } from "../client/caller.ts";
import type { CallOptions } from "../connection/connection.ts";
import { connectProcedures as rows } from "../table/connect.ts";
import { safeNumber } from "./wire.ts";

/** The machine as the hypervisor sees it (`virNodeGetInfo`). */
export interface NodeInfo {
  /** CPU model or architecture. */
  readonly model: string;
  readonly memoryKiB: number;
  /** Active logical CPUs. */
  readonly cpus: number;
  readonly mhz: number;
  readonly numaNodes: number;
  readonly socketsPerNode: number;
  readonly coresPerSocket: number;
  readonly threadsPerCore: number;
}

/** What to ask the hypervisor's abilities for; what is left out is the hypervisor's choice. */
export interface DomainCapabilitiesQuery {
  readonly emulator?: string;
  readonly arch?: string;
  readonly machine?: string;
  readonly virtType?: string;
}

/** The machine and the daemon on it. */
export class Node {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** CPUs, memory, topology. */
  async info(options?: CallOptions): Promise<NodeInfo> {
    const answer = await this.#caller.call(rows.nodeGetInfo, {}, options);
    return {
      model: charText(answer.model),
      memoryKiB: safeNumber(answer.memoryKiB, "memoryKiB"),
      cpus: answer.cpus,
      mhz: answer.mhz,
      numaNodes: answer.nodes,
      socketsPerNode: answer.sockets,
      coresPerSocket: answer.cores,
      threadsPerCore: answer.threads,
    };
  }

  /** Free memory of the machine, in bytes. */
  async freeMemoryBytes(options?: CallOptions): Promise<bigint> {
    return (await this.#caller.call(rows.nodeGetFreeMemory, {}, options)).bytes;
  }

  /** Free memory of each NUMA cell from `startCell` on, in bytes; at most `maxCells` of them. */
  async cellsFreeMemoryBytes(startCell = 0, maxCells = 1_024, options?: CallOptions): Promise<readonly bigint[]> {
    return (await this.#caller.call(rows.nodeGetCellsFreeMemory, { startCell, maxCells }, options)).bytes;
  }

  /** Memory figures in KiB by name (`total`, `free`, ...) of one NUMA cell, or of all with -1. */
  async memoryStatsKiB(cell = -1, options?: CallOptions): Promise<Readonly<Record<string, bigint>>> {
    // The daemon wants the exact number of figures, which it tells when asked for none.
    const { count } = await this.#caller.call(rows.nodeGetMemoryStats, { maxParams: 0, cell, flags: 0 }, options);
    const args = { maxParams: count, cell, flags: 0 };
    const { params } = await this.#caller.call(rows.nodeGetMemoryStats, args, options);
    return Object.fromEntries(params.map(({ field, value }) => [field, value]));
  }

  /** CPU time in nanoseconds by kind (`kernel`, `user`, `idle`, ...) of one CPU, or of all with -1. */
  async cpuStatsNs(cpu = -1, options?: CallOptions): Promise<Readonly<Record<string, bigint>>> {
    const { count } = await this.#caller.call(rows.nodeGetCpuStats, { cpu, maxParams: 0, flags: 0 }, options);
    const { params } = await this.#caller.call(rows.nodeGetCpuStats, { cpu, maxParams: count, flags: 0 }, options);
    return Object.fromEntries(params.map(({ field, value }) => [field, value]));
  }

  /** What machine and hypervisor can do, as XML. */
  async capabilities(options?: CallOptions): Promise<string> {
    return (await this.#caller.call(rows.connectGetCapabilities, {}, options)).xml;
  }

  /** What domains of a kind can have, as XML. */
  async domainCapabilities(query: DomainCapabilitiesQuery = {}, options?: CallOptions): Promise<string> {
    const { emulator = null, arch = null, machine = null, virtType = null } = query;
    const args = { emulator, arch, machine, virtType, flags: 0 };
    return (await this.#caller.call(rows.connectGetDomainCapabilities, args, options)).xml;
  }

  /** The machine's name. */
  async hostname(options?: CallOptions): Promise<string> {
    return (await this.#caller.call(rows.connectGetHostname, {}, options)).hostname;
  }

  /** The driver's name, such as `QEMU` or `TEST`. */
  async hypervisorType(options?: CallOptions): Promise<string> {
    return (await this.#caller.call(rows.connectGetType, {}, options)).type;
  }

  /** The hypervisor's version, such as `7.2.22`. */
  async hypervisorVersion(options?: CallOptions): Promise<string> {
    return versionText((await this.#caller.call(rows.connectGetVersion, {}, options)).version);
  }

  /** libvirt's version on the daemon's side, such as `9.0.0`. */
  async libvirtVersion(options?: CallOptions): Promise<string> {
    return versionText((await this.#caller.call(rows.connectGetLibVersion, {}, options)).version);
  }

  /** The most virtual CPUs a domain may have. */
  async maxVcpus(type?: string, options?: CallOptions): Promise<number> {
    return (await this.#caller.call(rows.connectGetMaxVcpus, { type: type ?? null }, options)).maxVcpus;
  }
}

/** C characters, of which each takes a word on the wire, up to the NUL. */
function charText(words: readonly number[]): string {
  const end = words.indexOf(0);
  return Buffer.from(end === -1 ? words : words.slice(0, end)).toString("utf8");
}

/** libvirt packs a version as major * 1 000 000 + minor * 1 000 + release. */
function versionText(version: bigint): string {
  return `${version / 1_000_000n}.${(version / 1_000n) % 1_000n}.${version % 1_000n}`;
}
