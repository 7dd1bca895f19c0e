/**
 * Whether guests run on the CPU (KVM) or are emulated (QEMU's TCG). `/dev/kvm` and libvirt's capabilities prove little: there
 * are machines whose KVM takes a guest and never gets it anywhere. `auto` believes what a tiny guest says.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, err, ok, type Result } from "@muster/base";
import { ErrorCode, isLibvirtError, type Libvirt, LibvirtError } from "node-libvirt";
import { z } from "zod";
import { PROBE_MARKER, PROBE_NAME, probeSector, probeXml } from "./virt-probe.ts";

export type VirtType = "kvm" | "qemu";

/** What was found, and how, for people: `auto: the probe guest ran`. */
export type VirtReport = { readonly virtType: VirtType; readonly because: string };

export type VirtTypesOptions = {
  readonly wish: "auto" | VirtType;
  readonly clock: Clock;
  /** Folder for the probe guest and for what it said. */
  readonly folder: string;
  /** Which boot of the machine this is: the answer holds until the next one. Absent: it is asked at every start. */
  readonly machineBoot?: string | undefined;
  /** For the probe guest to say its word. */
  readonly probeMs: number;
};

const POLL_MS = 50;
const cachedSchema = z.object({ machineBoot: z.string(), virtType: z.enum(["kvm", "qemu"]), because: z.string() });

export class VirtTypes {
  readonly #options: VirtTypesOptions;
  #asking: Promise<VirtReport> | undefined;
  #report: VirtReport | undefined;

  constructor(options: VirtTypesOptions) {
    this.#options = options;
  }

  /** What is known so far; `undefined` before the first question. */
  get report(): VirtReport | undefined {
    return this.#report;
  }

  /** The kind of virtualisation for new guests; the fault says why there is none. */
  async resolve(libvirt: Libvirt): Promise<Result<VirtType, string>> {
    const { wish } = this.#options;
    if (wish === "auto") {
      this.#asking ??= this.#ask(libvirt).then(
        (report) => {
          this.#report = report;
          return report;
        },
        (cause) => {
          this.#asking = undefined;
          throw cause;
        },
      );
      return ok((await this.#asking).virtType);
    }
    const offered = await offeredBy(libvirt);
    this.#report = { virtType: wish, because: "host.yaml says so" };
    if (offered.has(wish)) return ok(wish);
    if (wish === "kvm")
      return err("this host has no hardware virtualisation: set virtType to auto or qemu in host.yaml");
    return err("this host has no QEMU that can emulate: install qemu-system-x86");
  }

  async #ask(libvirt: Libvirt): Promise<VirtReport> {
    const offered = await offeredBy(libvirt);
    if (!offered.has("kvm")) return { virtType: "qemu", because: "libvirt offers no KVM here" };
    const cached = await this.#cached();
    if (cached !== undefined) return cached;
    const said = await this.#probe(libvirt);
    const report: VirtReport = said.ok
      ? { virtType: "kvm", because: "a probe guest ran on KVM" }
      : { virtType: "qemu", because: `KVM is there and does not work: ${said.error}` };
    await this.#keep(report);
    return report;
  }

  /** Boots a guest of one sector that writes a word to its serial port, and takes it away again. */
  async #probe(libvirt: Libvirt): Promise<Result<void, string>> {
    const { folder, clock, probeMs } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    const disk = join(folder, "probe.img");
    const serial = join(folder, "probe.log");
    await clearProbe(libvirt);
    await rm(serial, { force: true });
    await writeFile(disk, probeSector(), { mode: 0o644 });
    try {
      await libvirt.domains.create(probeXml({ type: "kvm", uuid: randomUUID(), disk, serial }));
      const endMs = clock.nowMs() + probeMs;
      while (clock.nowMs() < endMs) {
        const said = await readFile(serial, "latin1").catch(() => "");
        if (said.includes(PROBE_MARKER)) return ok(undefined);
        await pause(clock, POLL_MS);
      }
      return err(`a probe guest said nothing within ${probeMs} ms`);
    } catch (cause) {
      if (cause instanceof LibvirtError) return err(`a probe guest could not be started: ${cause.message}`);
      throw cause;
    } finally {
      await clearProbe(libvirt);
      await Promise.all([disk, serial].map((path) => rm(path, { force: true })));
    }
  }

  async #cached(): Promise<VirtReport | undefined> {
    const { machineBoot } = this.#options;
    const text = await readFile(this.#file(), "utf8").catch(() => undefined);
    if (text === undefined || machineBoot === undefined) return undefined;
    try {
      const read = cachedSchema.safeParse(JSON.parse(text));
      if (!read.success || read.data.machineBoot !== machineBoot) return undefined;
      return { virtType: read.data.virtType, because: read.data.because };
    } catch {
      return undefined;
    }
  }

  async #keep(report: VirtReport): Promise<void> {
    const { machineBoot, folder } = this.#options;
    if (machineBoot === undefined) return;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    const part = `${this.#file()}.part`;
    await writeFile(part, JSON.stringify({ machineBoot, ...report }), { mode: 0o600 });
    await rename(part, this.#file());
  }

  #file(): string {
    return join(this.#options.folder, "virt-type.json");
  }
}

/** Domain types that libvirt offers for x86-64 guests. */
async function offeredBy(libvirt: Libvirt): Promise<ReadonlySet<string>> {
  const xml = await libvirt.node.capabilities();
  return new Set(Array.from(xml.matchAll(/<domain type='([a-z]+)'/g), ([, type = ""]) => type));
}

async function clearProbe(libvirt: Libvirt): Promise<void> {
  const left = await libvirt.domains.lookupByName(PROBE_NAME);
  if (left === undefined) return;
  try {
    await libvirt.domains.destroy(left);
  } catch (cause) {
    if (!isLibvirtError(cause, ErrorCode.noDomain) && !isLibvirtError(cause, ErrorCode.operationInvalid)) throw cause;
  }
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}
