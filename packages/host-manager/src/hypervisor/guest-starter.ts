/** Starts real guests: prepares what a guest needs, defines its domain, starts it; or leaves nothing behind. */
import { err, ok, type Result } from "@muster/base";
import type { Guest } from "@muster/protocol";
import { type Domain, ErrorCode, isLibvirtError, type Libvirt } from "node-libvirt";
import type { GuestFolders } from "../guest/guest-folder.ts";
import type { GuestSteps, WiredNic } from "../guest/guest-steps.ts";
import { claimsInDomainXml, freeCpus, freeGpus } from "./claims.ts";
import { type GuestParts, guestXml, type UefiFiles } from "./guest-xml.ts";
import { release } from "./libvirt-survey.ts";
import type { DomainPlan } from "./port.ts";
import type { VirtTypes } from "./virt-type.ts";

export type GuestStarterParts = {
  readonly folders: GuestFolders;
  readonly steps: GuestSteps;
  readonly virt: VirtTypes;
  readonly uefi: UefiFiles;
  readonly tbCacheMiB: number;
  /** PCI addresses of the GPUs that VMs may have. */
  readonly gpus: readonly string[];
  /** CPUs that are given to VMs which want theirs to themselves, where the admin set some aside. */
  readonly dedicatedCpus?: readonly number[];
};

/** What libvirt must be at the least: 8.0.0 bounds the cache of QEMU's translator. */
const LIBVIRT_LEAST = 8_000_000n;

export class GuestStarter {
  readonly #parts: GuestStarterParts;
  #choosing: Promise<unknown> = Promise.resolve();

  constructor(parts: GuestStarterParts) {
    this.#parts = parts;
  }

  /**
   * Starts the guest of a plan whose domain is not there (`present` undefined) or stopped. The fault is a refusal, after which
   * nothing is left of a guest that never ran. Throws where the end is unknown, and then leaves everything: the next start
   * goes on from there.
   */
  async start(
    libvirt: Libvirt,
    plan: DomainPlan,
    guest: Guest,
    present: Domain | undefined,
  ): Promise<Result<Domain, string>> {
    const { steps } = this.#parts;
    const hasRun = (await steps.hasRun(plan)) || (present !== undefined && (await hasEnded(libvirt, present)));
    const started = await refusedAsFault(() => this.#roll(libvirt, plan, guest, present));
    if (!started.ok && !hasRun) await this.#takeBack(libvirt, plan.vm);
    return started;
  }

  async #roll(
    libvirt: Libvirt,
    plan: DomainPlan,
    guest: Guest,
    present: Domain | undefined,
  ): Promise<Result<Domain, string>> {
    const { steps, virt } = this.#parts;
    const virtType = await virt.resolve(libvirt);
    if (!virtType.ok) return virtType;
    const nics = await steps.prepare(plan, guest);
    if (!nics.ok) return nics;
    steps.step("define");
    const defined = present === undefined ? await this.#define(libvirt, plan, nics.value, virtType.value) : ok(present);
    if (!defined.ok) return defined;
    steps.step("start");
    await libvirt.domains.start(defined.value);
    steps.step("note");
    await steps.noteStarted(plan);
    steps.step("done");
    return defined;
  }

  /** One at a time: two VMs must not be given the same CPU or GPU. */
  #define(
    libvirt: Libvirt,
    plan: DomainPlan,
    nics: readonly WiredNic[],
    virtType: "kvm" | "qemu",
  ): Promise<Result<Domain, string>> {
    const turn = this.#choosing.then(async (): Promise<Result<Domain, string>> => {
      const own = await this.#choose(libvirt, plan);
      if (!own.ok) return own;
      const { folders, uefi, tbCacheMiB } = this.#parts;
      const { disk, seed, serialLog, nvram } = folders.paths(plan.vm);
      const parts: GuestParts = { virtType, disk, seed, serialLog, nvram, nics, uefi, tbCacheMiB, ...own.value };
      return ok(await libvirt.domains.define(guestXml(plan, parts)));
    });
    this.#choosing = turn.catch(() => undefined);
    return turn;
  }

  async #choose(
    libvirt: Libvirt,
    plan: DomainPlan,
  ): Promise<Result<Pick<GuestParts, "pinned" | "cpuset" | "gpus">, string>> {
    const { spec } = plan.subject;
    const { dedicatedCpus, gpus: all } = this.#parts;
    const rest = dedicatedCpus === undefined ? {} : { cpuset: await othersOf(libvirt, dedicatedCpus) };
    if (spec.gpus === 0 && spec.dedicatedCpus !== true) return ok({ gpus: [], ...rest });
    const taken = await takenOn(libvirt);
    const gpus = freeGpus(spec.gpus, all, taken.gpus);
    if (typeof gpus === "string") return err(gpus);
    if (spec.dedicatedCpus !== true) return ok({ gpus, ...rest });
    const pinned = freeCpus(spec.vcpus, dedicatedCpus ?? (await cpusOn(libvirt)), taken.cpus);
    return typeof pinned === "string" ? err(pinned) : ok({ gpus, pinned });
  }

  /** Nothing of it ever ran. */
  async #takeBack(libvirt: Libvirt, vm: string): Promise<void> {
    await undefine(libvirt, { uuid: vm });
    await this.#parts.steps.takeBack(vm);
  }
}

/** Whether a stopped domain ran before, as far as libvirt remembers: then its stop has a reason. */
async function hasEnded(libvirt: Libvirt, domain: Domain): Promise<boolean> {
  return (await libvirt.domains.state(domain)).reason !== SHUTOFF_UNKNOWN;
}

/** `VIR_DOMAIN_SHUTOFF_UNKNOWN` */
const SHUTOFF_UNKNOWN = 0;

/** Removes a domain with everything that libvirt keeps of it; one that is not there is removed already. */
export async function undefine(libvirt: Libvirt, domain: { readonly uuid: string }, nvram = true): Promise<void> {
  try {
    await libvirt.domains.undefine(domain, { managedSave: true, snapshotsMetadata: true, nvram });
  } catch (cause) {
    if (!isLibvirtError(cause, ErrorCode.noDomain)) throw cause;
  }
}

/** Whether this libvirt can do what guests need; the fault is a sentence. */
export function newEnough(version: bigint): Result<void, string> {
  if (version >= LIBVIRT_LEAST) return ok(undefined);
  return err(`libvirt ${release(version)} of this host is too old: guests need ${release(LIBVIRT_LEAST)} or later`);
}

/** libvirt's own no is final; everything else leaves open whether the daemon acted (V3). */
async function refusedAsFault<Value>(carryOut: () => Promise<Result<Value, string>>): Promise<Result<Value, string>> {
  try {
    return await carryOut();
  } catch (cause) {
    if (isFinal(cause) && cause instanceof Error) return err(cause.message);
    throw cause;
  }
}

/** Whether libvirt said no, or would have: it did nothing. */
export function isFinal(cause: unknown): boolean {
  return cause instanceof Error && "kind" in cause && (cause.kind === "libvirt" || cause.kind === "argument");
}

async function takenOn(libvirt: Libvirt): Promise<{ cpus: ReadonlySet<number>; gpus: ReadonlySet<string> }> {
  const cpus = new Set<number>();
  const gpus = new Set<string>();
  for (const domain of await libvirt.domains.list()) {
    const claims = claimsInDomainXml(await libvirt.domains.xml(domain));
    for (const cpu of claims.cpus) cpus.add(cpu);
    for (const gpu of claims.gpus) gpus.add(gpu);
  }
  return { cpus, gpus };
}

async function cpusOn(libvirt: Libvirt): Promise<readonly number[]> {
  const { cpus } = await libvirt.node.info();
  return Array.from({ length: cpus }, (_, cpu) => cpu);
}

/** The CPUs that VMs share where some are set aside, in libvirt's notation. */
async function othersOf(libvirt: Libvirt, aside: readonly number[]): Promise<string> {
  return (await cpusOn(libvirt)).filter((cpu) => !aside.includes(cpu)).join(",");
}
