import type { Access, Resources } from "@muster/protocol";
import { parse } from "ltx";
import {
  type CallOptions,
  type Domain,
  type DomainState,
  domainState,
  ErrorCode,
  isLibvirtError,
  type Libvirt,
  paramRecord,
  procedureTable,
} from "node-libvirt";
import { addressInDomainXml } from "./guest-address.ts";
import { planInDomainXml } from "./metadata.ts";
import type { DomainReport, HypervisorFacts, SurveyOutcome } from "./port.ts";
import { PROBE_NAME } from "./virt-probe.ts";

/** What does not change while a domain stays defined as it is. */
type Definition = Pick<DomainReport, "plan" | "used" | "address">;

/** What libvirt says of itself and of the machine. */
export type LibvirtFacts = HypervisorFacts & { readonly libvirtVersion: bigint };

/** `virDomainStatsTypes`: the state only. */
const STATS_STATE = 1;
/** `VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT`: does not wait for a guest whose monitor hangs. */
const STATS_NOWAIT = 2 ** 29;
const SURVEYS_PER_FACTS = 20;
const BYTES_PER_GIB = 2n ** 30n;
const KIB_PER_MIB = 1024n;

/** Lists a libvirt host: states by one call for all domains, definitions once each and again when they change. */
export class LibvirtSurvey {
  readonly #definitions = new Map<string, Definition>();
  readonly #accessOf: (vm: string) => Access | undefined;
  #facts: LibvirtFacts | undefined;
  #surveys = 0;

  /** `accessOf` tells where a VM behind this host's address is reached. */
  constructor(accessOf: (vm: string) => Access | undefined = () => undefined) {
    this.#accessOf = accessOf;
  }

  /** Read once a connection, and again now and then: a machine may tell too little memory soon after its boot. */
  async facts(libvirt: Libvirt, options: CallOptions = {}): Promise<LibvirtFacts> {
    this.#facts ??= await readFacts(libvirt, options);
    return this.#facts;
  }

  forget(uuid: string): void {
    this.#definitions.delete(uuid);
  }

  forgetAll(): void {
    this.#definitions.clear();
    this.#facts = undefined;
  }

  async take(libvirt: Libvirt, options: CallOptions): Promise<SurveyOutcome> {
    this.#surveys += 1;
    if (this.#surveys % SURVEYS_PER_FACTS === 0) this.#facts = await readFacts(libvirt, options);
    const facts = await this.facts(libvirt, options);
    const flags = isTestDriver(facts) ? 0 : STATS_NOWAIT;
    const args = { domains: [], stats: STATS_STATE, flags };
    const { records } = await libvirt.call(procedureTable.connectGetAllDomainStats, args, options);
    const domains: DomainReport[] = [];
    for (const { domain, params } of records) {
      if (domain.name === PROBE_NAME) continue;
      const definition = await this.#definition(domain, libvirt.domains, options);
      if (definition === undefined) continue;
      const state = reportState(domainState(Number(paramRecord(params)["state.state"] ?? -1)));
      domains.push({ uuid: domain.uuid, state, ...definition, ...this.#accessTo(definition) });
    }
    this.#keepOnly(new Set(domains.map(({ uuid }) => uuid)));
    return { kind: "surveyed", facts, domains };
  }

  /** One domain as it is now; `undefined` when it has gone. */
  async report(domain: Domain, domains: Libvirt["domains"]): Promise<DomainReport | undefined> {
    const definition = await this.#definition(domain, domains, {});
    if (definition === undefined) return undefined;
    const { state } = await domains.state(domain);
    return { uuid: domain.uuid, state: reportState(state), ...definition, ...this.#accessTo(definition) };
  }

  #accessTo({ plan }: Definition): Pick<DomainReport, "access"> {
    const access = plan === undefined ? undefined : this.#accessOf(plan.vm);
    return access === undefined ? {} : { access };
  }

  async #definition(
    domain: Domain,
    domains: Libvirt["domains"],
    options: CallOptions,
  ): Promise<Definition | undefined> {
    const known = this.#definitions.get(domain.uuid);
    if (known !== undefined) return known;
    const xml = await orGone(domains.xml(domain, options));
    if (xml === undefined) return undefined;
    const plan = planInDomainXml(xml);
    const address = plan === undefined ? undefined : addressInDomainXml(xml, plan);
    const definition = {
      used: usedInDomainXml(xml),
      ...(plan === undefined ? {} : { plan }),
      ...(address === undefined ? {} : { address }),
    };
    this.#definitions.set(domain.uuid, definition);
    return definition;
  }

  #keepOnly(uuids: ReadonlySet<string>): void {
    for (const uuid of this.#definitions.keys()) if (!uuids.has(uuid)) this.#definitions.delete(uuid);
  }
}

/** libvirt's test driver, which takes no flags that concern real guests. */
export function isTestDriver(facts: HypervisorFacts): boolean {
  return facts.driver === "TEST";
}

/** What libvirt calls a state, as it matters here: whether guests take time and memory. */
export function reportState(state: DomainState): DomainReport["state"] {
  if (state === "paused" || state === "pmsuspended") return "paused";
  return state === "shutoff" || state === "crashed" ? "stopped" : "running";
}

/** What a domain takes by its definition. Disks of foreign domains are not looked into. */
export function usedInDomainXml(xml: string): Resources {
  const domain = parse(xml);
  const memory = domain.getChild("memory");
  const bytes = Number(memory?.getText() ?? 0) * (BYTES_PER_UNIT[memory?.attrs.unit ?? "KiB"] ?? 1024);
  return {
    vcpus: Number(domain.getChildText("vcpu") ?? 0),
    memoryMiB: Math.ceil(bytes / 2 ** 20),
    diskGiB: 0,
    gpus: 0,
  };
}

/** Units in which libvirt gives back memory; it converts all others. */
const BYTES_PER_UNIT: Readonly<Record<string, number>> = { bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

async function readFacts(libvirt: Libvirt, options: CallOptions): Promise<LibvirtFacts> {
  const [node, { type }, { version }, diskGiB] = await Promise.all([
    libvirt.call(procedureTable.nodeGetInfo, {}, options),
    libvirt.call(procedureTable.connectGetType, {}, options),
    libvirt.call(procedureTable.connectGetLibVersion, {}, options),
    poolsGiB(libvirt, options),
  ]);
  return {
    total: { vcpus: node.cpus, memoryMiB: Number(node.memoryKiB / KIB_PER_MIB), diskGiB, gpus: 0 },
    driver: type,
    hypervisor: `libvirt ${release(version)} (${type})`,
    libvirtVersion: version,
  };
}

/** `9.0.0` of libvirt's 9000000. */
export function release(version: bigint): string {
  return [version / 1_000_000n, (version / 1_000n) % 1_000n, version % 1_000n].join(".");
}

/** Capacity of all active storage pools. */
async function poolsGiB(libvirt: Libvirt, options: CallOptions): Promise<number> {
  const active = { needResults: 1, flags: 2 };
  const { pools } = await libvirt.call(procedureTable.connectListAllStoragePools, active, options);
  let bytes = 0n;
  for (const pool of pools) {
    bytes += (await libvirt.call(procedureTable.storagePoolGetInfo, { pool }, options)).capacityBytes;
  }
  return Number(bytes / BYTES_PER_GIB);
}

/** A domain may go between the list and the look at it. */
async function orGone<Value>(call: Promise<Value>): Promise<Value | undefined> {
  try {
    return await call;
  } catch (cause) {
    if (isLibvirtError(cause, ErrorCode.noDomain)) return undefined;
    throw cause;
  }
}
