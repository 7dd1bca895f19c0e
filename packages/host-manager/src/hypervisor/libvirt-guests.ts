/** What real guests need on a host besides libvirt: a place for disks, images, networks, and what the admin set for them. */
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@muster/base";
import type { Access, NetworkAbilities, UnderlayPeer } from "@muster/protocol";
import { GuestFolders } from "../guest/guest-folder.ts";
import { GuestSteps, type OnStep, type OrderStep } from "../guest/guest-steps.ts";
import { ImageCache } from "../images/image-cache.ts";
import type { FetchLimits } from "../images/image-fetch.ts";
import { LibvirtMover, type MoverConnection } from "../move/libvirt-mover.ts";
import type { Mover } from "../move/port.ts";
import type { HostNetworks } from "../network/port.ts";
import { GuestOperations } from "./guest-operations.ts";
import { GuestStarter } from "./guest-starter.ts";
import type { UefiFiles } from "./guest-xml.ts";
import type { DomainPlan, HypervisorFacts } from "./port.ts";
import { type VirtType, VirtTypes } from "./virt-type.ts";

export type Gpu = { readonly address: string; readonly labels: Readonly<Record<string, string>> };

export type LibvirtGuestsOptions = {
  readonly clock: Clock;
  /** The host manager's folder; QEMU's account must be able to pass through it. */
  readonly state: string;
  readonly networks: HostNetworks;
  readonly virtType: "auto" | VirtType;
  readonly probeMs: number;
  readonly machineBoot?: string | undefined;
  readonly cacheBytes: number;
  readonly fetch: FetchLimits;
  readonly stopMs: number;
  readonly uefi: UefiFiles;
  readonly tbCacheMiB: number;
  readonly gpus: readonly Gpu[];
  readonly dedicatedCpus?: readonly number[];
  /** Where guests are sent to, and how long that may take; without it none is moved alive. */
  readonly migration?: { readonly address: string; readonly performMs: number };
  readonly onStep?: OnStep;
};

const GIB = 2 ** 30;
/** How long what was found out of the host's networks is taken for true. */
const ABILITIES_MS = 60_000;

export class LibvirtGuests {
  readonly stopMs: number;
  readonly folders: GuestFolders;
  readonly virt: VirtTypes;
  readonly starter: GuestStarter;
  readonly operations: GuestOperations;
  readonly #options: LibvirtGuestsOptions;
  readonly #images: ImageCache;
  readonly #steps: GuestSteps;
  #opened: Promise<void> | undefined;
  #abilities: { readonly atMs: number; readonly value: NetworkAbilities } | undefined;
  #listener: () => void = () => {};

  constructor(options: LibvirtGuestsOptions) {
    const { clock, state, networks, onStep, stopMs, uefi, tbCacheMiB, gpus, dedicatedCpus } = options;
    this.#options = options;
    this.stopMs = stopMs;
    this.folders = new GuestFolders(join(state, "guests"));
    this.#images = new ImageCache({
      folder: join(state, "images"),
      limitBytes: options.cacheBytes,
      clock,
      fetch: options.fetch,
      basesInUse: () => this.folders.bases(),
      onChange: () => this.#listener(),
    });
    const hook = onStep === undefined ? {} : { onStep };
    this.#steps = new GuestSteps({ folders: this.folders, images: this.#images, networks, ...hook });
    this.virt = new VirtTypes({
      wish: options.virtType,
      clock,
      folder: join(state, "virt"),
      machineBoot: options.machineBoot,
      probeMs: options.probeMs,
    });
    this.operations = new GuestOperations({ clock, folders: this.folders, step: (name) => this.step(name) });
    this.starter = new GuestStarter({
      folders: this.folders,
      steps: this.#steps,
      virt: this.virt,
      uefi,
      tbCacheMiB,
      gpus: gpus.map(({ address }) => address),
      ...(dedicatedCpus === undefined ? {} : { dedicatedCpus }),
    });
  }

  /** Looks at what earlier runs left. Safe to repeat. */
  async open(): Promise<void> {
    this.#opened ??= this.#open();
    await this.#opened;
  }

  async #open(): Promise<void> {
    await this.folders.open();
    await this.#images.open();
  }

  /** Calls `changed` when the facts may have become other ones. */
  onChange(changed: () => void): void {
    this.#listener = changed;
  }

  /** The facts with what this host adds to libvirt's: the disk that guests lie on, images, GPUs, the kind of CPU. */
  async facts(facts: HypervisorFacts): Promise<HypervisorFacts> {
    const { state, gpus, networks } = this.#options;
    const disk = await statfs(state);
    const report = this.virt.report;
    const kind = report === undefined ? "" : `, ${report.virtType === "kvm" ? "KVM" : "emulation"}: ${report.because}`;
    return {
      ...facts,
      total: { ...facts.total, diskGiB: Math.floor((disk.blocks * disk.bsize) / GIB), gpus: gpus.length },
      hypervisor: `${facts.hypervisor}${kind}`,
      labels: Object.assign(
        {},
        ...gpus.map(({ labels }) => labels),
        report === undefined ? {} : { virt: report.virtType },
      ),
      images: this.#images.present,
      moves: this.#options.migration !== undefined,
      networks: await this.#networkAbilities(),
      ...(networks.underlay === undefined ? {} : { underlay: networks.underlay }),
    };
  }

  /** Tried out at the start, and again now and then: a switch may come up later than the host manager. */
  async #networkAbilities(): Promise<NetworkAbilities> {
    const { clock, networks } = this.#options;
    if (this.#abilities === undefined || clock.nowMs() - this.#abilities.atMs >= ABILITIES_MS)
      this.#abilities = { value: await networks.abilities(), atMs: clock.nowMs() };
    return this.#abilities.value;
  }

  learnUnderlay(peers: readonly UnderlayPeer[]): Promise<void> {
    return this.#options.networks.learn(peers);
  }

  accessOf(vm: string): Access | undefined {
    return this.#options.networks.accessOf(vm);
  }

  /** Removes what a crash left of VMs that are not known, and gives up what nobody uses. */
  async tidy(known: ReadonlySet<string>): Promise<void> {
    const kept = new Set(known);
    for (const vm of await this.folders.list()) {
      if (known.has(vm)) continue;
      // What has run is a user's: only an order removes it, also where the journal was lost (H3).
      const isUsers = (await this.folders.record(vm))?.stage === "started" || (await this.folders.isStrange(vm));
      if (isUsers) kept.add(vm);
      else await this.clear(vm);
    }
    await this.#options.networks.reconcile(kept);
  }

  /** Live migration over this connection, where the admin gave an address for it. */
  moverOver(connection: MoverConnection): Mover | undefined {
    const { clock, migration, state } = this.#options;
    if (migration === undefined) return undefined;
    const { folders, virt } = this;
    return new LibvirtMover({
      ...connection,
      ...migration,
      clock,
      folders,
      virt,
      steps: this.#steps,
      folder: join(state, "moves"),
    });
  }

  /** A start that was cut off behind its last step is made whole. */
  async noteStarted(plan: DomainPlan): Promise<void> {
    if (plan.subject.guest !== undefined && (await this.folders.record(plan.vm)) !== undefined) {
      await this.#steps.noteStarted(plan);
    }
  }

  /** A VM that runs has a disk that is its user's, also where a crash kept that from being noted (H3). */
  async noteRunning(vm: string): Promise<void> {
    const record = await this.folders.record(vm);
    if (record?.stage === "making") await this.folders.note(vm, { ...record, stage: "started" });
  }

  step(name: OrderStep): void {
    this.#steps.step(name);
  }

  /** A start of this VM waits for its image no longer. */
  giveUp(vm: string): void {
    this.#steps.giveUp(vm);
  }

  noteDeleting(vm: string): Promise<void> {
    return this.#steps.noteDeleting(vm);
  }

  /** Removes everything of a VM that is not its domain. */
  clear(vm: string): Promise<void> {
    return this.#steps.clear(vm);
  }
}
