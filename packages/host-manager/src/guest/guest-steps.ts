/**
 * What a real guest needs besides its domain, step by step: image, networks, disk, seed. Each step is safe to repeat, so that
 * a start that a crash cut off is simply done again and goes on where it was; a refusal takes back everything.
 */
import { err, ok, type Result } from "@muster/base";
import type { Guest, GuestNic } from "@muster/protocol";
import type { DomainPlan } from "../hypervisor/port.ts";
import type { ImageCache } from "../images/image-cache.ts";
import type { HostNetworks, NicWiring } from "../network/port.ts";
import { diskFits, exists, makeDisk } from "./disk.ts";
import type { GuestFolders } from "./guest-folder.ts";
import { makeSeed } from "./seed.ts";

export type StartStep = "folder" | "networks" | "disk" | "seed" | "define" | "start" | "note" | "done";

/** What an order does that stays, in front of each; and `ended`, when all is done and nobody has heard of it. */
export type OrderStep =
  | "stop"
  | "suspend"
  | "resume"
  | "mark-deleting"
  | "destroy"
  | "undefine"
  | "release-networks"
  | "remove-folder"
  | "save"
  | "snapshot"
  | "revert"
  | "delete-snapshot"
  | "make-volume"
  | "attach"
  | "detach-defined"
  | "detach-live"
  | "remove-volume"
  | "grow-disk"
  | "redefine"
  | "ended";

/** Told where a host manager may end; a test has it end there. */
export type OnStep = (step: StartStep | OrderStep) => void;

export type GuestStepsParts = {
  readonly folders: GuestFolders;
  readonly images: ImageCache;
  readonly networks: HostNetworks;
  readonly onStep?: OnStep;
};

export type WiredNic = { readonly nic: GuestNic; readonly wiring: NicWiring };

export class GuestSteps {
  readonly #parts: GuestStepsParts;
  /** VMs that are being prepared. */
  readonly #wishes = new Map<string, AbortController>();

  constructor(parts: GuestStepsParts) {
    this.#parts = parts;
  }

  step(name: StartStep | OrderStep): void {
    this.#parts.onStep?.(name);
  }

  /** Whether this attempt has run before: then its disk is the user's, and no refusal takes it away (H3). */
  async hasRun({ vm, attempt }: DomainPlan): Promise<boolean> {
    const record = await this.#parts.folders.record(vm);
    return record?.attempt === attempt && record.stage === "started";
  }

  /** Everything up to the seed. The fault is a sentence for the one who asked for the VM. */
  async prepare(plan: DomainPlan, guest: Guest): Promise<Result<readonly WiredNic[], string>> {
    const wish = new AbortController();
    this.#wishes.set(plan.vm, wish);
    try {
      return await this.#prepare(plan, guest, wish.signal);
    } finally {
      this.#wishes.delete(plan.vm);
    }
  }

  async #prepare(plan: DomainPlan, guest: Guest, wish: AbortSignal): Promise<Result<readonly WiredNic[], string>> {
    const { vm, attempt, subject } = plan;
    const { folders } = this.#parts;
    this.step("folder");
    const folder = await folders.make(vm, attempt);
    if (!folder.ok) return folder;
    this.step("networks");
    const nics = await this.#wire(vm, guest.nics);
    if (!nics.ok) return nics;
    this.step("disk");
    const disk = await this.#disk(plan, guest, wish);
    if (!disk.ok) return disk;
    this.step("seed");
    const { name, spec } = subject;
    const seed = await makeSeed(folders.paths(vm).seed, { vm, attempt, name, spec, nics: guest.nics });
    return seed.ok ? nics : seed;
  }

  async #wire(vm: string, nics: readonly GuestNic[]): Promise<Result<readonly WiredNic[], string>> {
    const wired: WiredNic[] = [];
    for (const nic of nics) {
      const wiring = await this.#parts.networks.attach(vm, nic);
      if (!wiring.ok) return err(wiring.error.reason);
      wired.push({ nic, wiring: wiring.value });
    }
    return ok(wired);
  }

  async #disk(plan: DomainPlan, { image }: Guest, wish: AbortSignal): Promise<Result<void, string>> {
    const { disk } = this.#parts.folders.paths(plan.vm);
    if (await exists(disk)) return ok(undefined);
    if (await this.hasRun(plan)) return err("its disk is gone from this host");
    const fits = diskFits(image, plan.subject.spec.diskGiB);
    if (!fits.ok) return fits;
    const held = await this.#parts.images.hold(image, wish);
    if (!held.ok) return held;
    try {
      return await makeDisk(disk, held.value.path, image.format, plan.subject.spec.diskGiB);
    } finally {
      held.value.release();
    }
  }

  /** Nobody wants the VM any more: where it is being prepared, it waits for no image. */
  giveUp(vm: string): void {
    this.#wishes.get(vm)?.abort();
  }

  /** From here on the disk is the user's. Safe to repeat. */
  async noteStarted({ vm, attempt }: DomainPlan): Promise<void> {
    const { folders } = this.#parts;
    const record = await folders.record(vm);
    if (record?.attempt !== attempt || record.stage !== "started")
      await folders.note(vm, { attempt, stage: "started" });
  }

  /** Before anything of it is removed: what a crash leaves is then removed as well. */
  async noteDeleting(vm: string): Promise<void> {
    const { folders } = this.#parts;
    this.step("mark-deleting");
    const record = await folders.record(vm);
    if (record !== undefined) await folders.note(vm, { ...record, stage: "deleting" });
  }

  /** Takes back what a start that is refused has made. */
  async takeBack(vm: string): Promise<void> {
    if (await this.#parts.folders.isStrange(vm)) await this.#parts.networks.release(vm);
    else await this.clear(vm);
  }

  /** Removes everything that is not the domain. */
  async clear(vm: string): Promise<void> {
    this.step("release-networks");
    await this.#parts.networks.release(vm);
    this.step("remove-folder");
    await this.#parts.folders.remove(vm);
  }
}
