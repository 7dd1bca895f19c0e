/** Orders about real guests that carry something with them: saving, snapshots, volumes, sizes. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, err, ok, type Result } from "@muster/base";
import { partNameSchema, SNAPSHOTS_MAX, VOLUMES_MAX } from "@muster/protocol";
import { parse } from "ltx";
import { type Domain, ErrorCode, isLibvirtError, type Libvirt } from "node-libvirt";
import { exists, growDisk, makeVolume } from "../guest/disk.ts";
import type { GuestFolders } from "../guest/guest-folder.ts";
import type { OrderStep } from "../guest/guest-steps.ts";
import { diskXmlOf, freeTarget, resizedXml, volumeXml } from "./domain-edit.ts";
import { isFinal } from "./guest-starter.ts";
import { reportState } from "./libvirt-survey.ts";
import type { DomainOperation, SnapshotReport } from "./operation.ts";

export type GuestOperationsParts = {
  readonly clock: Clock;
  readonly folders: GuestFolders;
  /** Told in front of whatever stays. */
  readonly step: (name: OrderStep) => void;
};

/** How long a guest may take to let go of a disk. */
const DETACH_MS = 15_000;
const POLL_MS = 100;
/** `VIR_DOMAIN_PAUSED_SNAPSHOT` */
const PAUSED_SNAPSHOT = 9;
/** For what writes or reads a guest's whole memory. */
const LONG = { timeoutMs: 900_000 };

export class GuestOperations {
  readonly #parts: GuestOperationsParts;

  constructor(parts: GuestOperationsParts) {
    this.#parts = parts;
  }

  /**
   * The fault is a refusal, in a sentence; throws where libvirt refuses or the end is unknown. libvirt's no is asked about
   * once more: an order of a host manager that ended may still have been under way, and have done it meanwhile (H2).
   */
  async carryOut(libvirt: Libvirt, domain: Domain, operation: DomainOperation): Promise<Result<void, string>> {
    const carryOut = (): Promise<Result<void, string>> => this.#carryOut(libvirt, domain, operation);
    const done = await carryOut().catch((cause) => {
      if (isFinal(cause)) return carryOut();
      throw cause;
    });
    if (operation.kind === "create-snapshot") await this.#taken(libvirt, domain);
    this.#parts.step("ended");
    return done;
  }

  /** A snapshot is listed while it is still being taken, and its guest stands still until then. */
  async #taken(libvirt: Libvirt, domain: Domain): Promise<void> {
    const { clock } = this.#parts;
    const endMs = clock.nowMs() + LONG.timeoutMs;
    for (;;) {
      const { state, reason } = await libvirt.domains.state(domain);
      if (state !== "paused" || reason !== PAUSED_SNAPSHOT || clock.nowMs() > endMs) return;
      await pause(clock, POLL_MS);
    }
  }

  async #carryOut(libvirt: Libvirt, domain: Domain, operation: DomainOperation): Promise<Result<void, string>> {
    const { step } = this.#parts;
    switch (operation.kind) {
      case "cut-off":
        return cutOff(libvirt, domain, step);
      case "save":
        return save(libvirt, domain, step);
      case "create-snapshot":
        return named(operation.name, () => createSnapshot(libvirt, domain, operation.name, step));
      case "revert-snapshot":
        return named(operation.name, () => revertSnapshot(libvirt, domain, operation.name, step));
      case "delete-snapshot":
        return named(operation.name, () => deleteSnapshot(libvirt, domain, operation.name, step));
      case "attach-volume":
        return named(operation.name, () => this.#attach(libvirt, domain, operation.name, operation.sizeGiB));
      case "detach-volume":
        return named(operation.name, () => this.#detach(libvirt, domain, operation.name, operation.discard));
      case "resize":
        return this.#resize(libvirt, domain, operation);
    }
  }

  async #attach(libvirt: Libvirt, domain: Domain, name: string, sizeGiB: number): Promise<Result<void, string>> {
    const { folders, step } = this.#parts;
    const file = this.#volume(domain.uuid, name);
    const isRunning = (await stateOf(libvirt, domain)) !== "stopped";
    const xml = await libvirt.domains.xml(domain, { inactive: true });
    const isDefined = diskXmlOf(xml, file) !== undefined;
    const isLive = isRunning && diskXmlOf(await libvirt.domains.xml(domain), file) !== undefined;
    if (isDefined && (isLive || !isRunning)) return ok(undefined);
    if (!(await exists(file))) {
      const names = await readdir(folders.paths(domain.uuid).folder);
      const volumes = names.filter((one) => one.startsWith("volume-")).length;
      if (volumes >= VOLUMES_MAX) return err(`the VM has ${volumes} volumes, and no more are kept`);
      step("make-volume");
      const made = await makeVolume(file, sizeGiB);
      if (!made.ok) return made;
    }
    const target = freeTarget(xml);
    if (target === undefined) return err("the VM has no place for another disk");
    step("attach");
    await libvirt.resources.attachDevice(domain, volumeXml(file, name, target), { config: true, live: isRunning });
    return ok(undefined);
  }

  async #detach(libvirt: Libvirt, domain: Domain, name: string, discard: boolean): Promise<Result<void, string>> {
    const { step } = this.#parts;
    const file = this.#volume(domain.uuid, name);
    const defined = diskXmlOf(await libvirt.domains.xml(domain, { inactive: true }), file);
    step("detach-defined");
    if (defined !== undefined) await libvirt.resources.detachDevice(domain, defined, { config: true });
    if ((await stateOf(libvirt, domain)) !== "stopped") {
      const gone = await this.#detachLive(libvirt, domain, file);
      if (!gone.ok) return gone;
    }
    step("remove-volume");
    if (discard) await rm(file, { force: true });
    return ok(undefined);
  }

  /** The guest is asked to let go, and takes its time. */
  async #detachLive(libvirt: Libvirt, domain: Domain, file: string): Promise<Result<void, string>> {
    const { clock, step } = this.#parts;
    step("detach-live");
    const endMs = clock.nowMs() + DETACH_MS;
    for (let isAsked = false; ; isAsked = true) {
      const live = diskXmlOf(await libvirt.domains.xml(domain), file);
      if (live === undefined) return ok(undefined);
      if (!isAsked) await libvirt.resources.detachDevice(domain, live, { live: true });
      if (clock.nowMs() > endMs) {
        return err(
          `the guest did not let go of the volume within ${DETACH_MS} ms; it is detached when the guest stops`,
        );
      }
      await pause(clock, POLL_MS);
    }
  }

  async #resize(
    libvirt: Libvirt,
    domain: Domain,
    size: DomainOperation & { kind: "resize" },
  ): Promise<Result<void, string>> {
    if ((await stateOf(libvirt, domain)) !== "stopped")
      return err("stop the VM first: it is resized while it is stopped");
    if (await libvirt.saves.hasManagedSave(domain)) return err("the VM is saved: start it and stop it first");
    const changed = resizedXml(await libvirt.domains.xml(domain, { inactive: true }), size);
    if ("fault" in changed) return err(changed.fault);
    const { folders, step } = this.#parts;
    step("grow-disk");
    if (size.diskGiB !== undefined) {
      const grown = await growDisk(folders.paths(domain.uuid).disk, size.diskGiB);
      if (!grown.ok) return grown;
    }
    step("redefine");
    await libvirt.domains.define(changed.xml);
    return ok(undefined);
  }

  #volume(vm: string, name: string): string {
    return join(this.#parts.folders.paths(vm).folder, `volume-${name}.qcow2`);
  }
}

/** The snapshots of a domain, oldest first. */
export async function snapshotsOf(libvirt: Libvirt, domain: Domain): Promise<SnapshotReport[]> {
  const current = await libvirt.snapshots.current(domain);
  const all = await libvirt.snapshots.list(domain);
  const reports = await Promise.all(
    all.map(async (snapshot) => {
      const xml = parse(await libvirt.snapshots.xml(snapshot));
      const state = SNAPSHOT_STATES[xml.getChildText("state") ?? ""] ?? "stopped";
      const createdAtS = Number(xml.getChildText("creationTime") ?? 0);
      return { name: snapshot.name, createdAtS, state, isCurrent: snapshot.name === current?.name };
    }),
  );
  return reports.sort((a, b) => a.createdAtS - b.createdAtS || a.name.localeCompare(b.name));
}

type Step = GuestOperationsParts["step"];

const SNAPSHOT_STATES: Readonly<Record<string, SnapshotReport["state"]>> = { running: "running", paused: "paused" };

async function cutOff(libvirt: Libvirt, domain: Domain, step: Step): Promise<Result<void, string>> {
  step("destroy");
  try {
    await libvirt.domains.destroy(domain, { urgent: true });
  } catch (cause) {
    if (!isLibvirtError(cause, ErrorCode.operationInvalid)) throw cause;
  }
  return ok(undefined);
}

async function save(libvirt: Libvirt, domain: Domain, step: Step): Promise<Result<void, string>> {
  step("save");
  if ((await stateOf(libvirt, domain)) !== "stopped") await libvirt.saves.managedSave(domain, LONG);
  else if (!(await libvirt.saves.hasManagedSave(domain))) return err("the VM is stopped: there is no memory to save");
  return ok(undefined);
}

async function createSnapshot(
  libvirt: Libvirt,
  domain: Domain,
  name: string,
  step: Step,
): Promise<Result<void, string>> {
  const all = await libvirt.snapshots.list(domain);
  if (all.some((snapshot) => snapshot.name === name)) return ok(undefined);
  if (all.length >= SNAPSHOTS_MAX) return err(`the VM has ${all.length} snapshots, and no more are kept: delete one`);
  step("snapshot");
  await libvirt.snapshots.create(domain, `<domainsnapshot><name>${name}</name></domainsnapshot>`, LONG);
  return ok(undefined);
}

async function revertSnapshot(
  libvirt: Libvirt,
  domain: Domain,
  name: string,
  step: Step,
): Promise<Result<void, string>> {
  const snapshot = await libvirt.snapshots.lookup(domain, name);
  if (snapshot === undefined) return err(`the VM has no snapshot ${name}`);
  step("revert");
  await libvirt.snapshots.revert(snapshot, LONG);
  return ok(undefined);
}

async function deleteSnapshot(
  libvirt: Libvirt,
  domain: Domain,
  name: string,
  step: Step,
): Promise<Result<void, string>> {
  const snapshot = await libvirt.snapshots.lookup(domain, name);
  step("delete-snapshot");
  if (snapshot !== undefined) await libvirt.snapshots.delete(snapshot, LONG);
  return ok(undefined);
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}

async function named(name: string, carryOut: () => Promise<Result<void, string>>): Promise<Result<void, string>> {
  const checked = partNameSchema.safeParse(name);
  return checked.success ? carryOut() : err(`the name ${checked.error.issues[0]?.message}`);
}

async function stateOf(libvirt: Libvirt, domain: Domain): Promise<"running" | "paused" | "stopped"> {
  return reportState((await libvirt.domains.state(domain)).state);
}
