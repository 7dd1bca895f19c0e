/** The libvirt domain of a real guest on QEMU (https://libvirt.org/formatdomain.html). Pure. */
import type { GuestNic, VmSpec } from "@muster/protocol";
import { Element } from "ltx";
import type { NicWiring } from "../network/port.ts";
import { vmMetadataElement } from "./metadata.ts";
import { addInterface } from "./nic-xml.ts";
import type { DomainPlan } from "./port.ts";

export const NS_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0";

/** What becomes of a plan on this host. */
export type GuestParts = {
  readonly virtType: "kvm" | "qemu";
  readonly disk: string;
  readonly seed: string;
  readonly serialLog: string;
  readonly nvram: string;
  readonly nics: ReadonlyArray<{ readonly nic: GuestNic; readonly wiring: NicWiring }>;
  /** CPU of the host for each vCPU, in order; where the VM has CPUs of its own. */
  readonly pinned?: readonly number[];
  /** CPUs that the VM may run on, where others have theirs to themselves; libvirt's `cpuset`. */
  readonly cpuset?: string;
  /** PCI addresses of the GPUs it is given. */
  readonly gpus: readonly string[];
  readonly uefi: UefiFiles;
  /** Bound of what QEMU's translator keeps, with emulation. */
  readonly tbCacheMiB: number;
};

/** The firmware's code, and what a VM's own variables begin as. */
export type UefiFiles = { readonly code: string; readonly variables: string };

/** Places for volumes that come while the guest runs; a PCI Express bus has none to spare by itself. */
const SPARE_PORTS = 6;
/** Disk, agent channel, random numbers, balloon. */
const FIXED_DEVICES = 4;
const BALLOON_STATS_S = 10;

export function guestXml(plan: DomainPlan, parts: GuestParts): string {
  const { vm, subject } = plan;
  const { spec } = subject;
  const domain = new Element("domain", { type: parts.virtType, "xmlns:qemu": NS_QEMU });
  domain.c("name").t(vm);
  domain.c("uuid").t(vm);
  domain.c("title").t(subject.name);
  domain.c("metadata").cnode(vmMetadataElement(plan));
  domain.c("memory", { unit: "MiB" }).t(String(spec.memoryMiB));
  domain.c("currentMemory", { unit: "MiB" }).t(String(spec.memoryMiB));
  const cpuset = parts.cpuset === undefined ? {} : { cpuset: parts.cpuset };
  domain.c("vcpu", { placement: "static", ...cpuset }).t(String(spec.vcpus));
  cpuTuning(domain, spec, parts);
  firmware(domain, spec, parts);
  features(domain, parts);
  if (spec.cpuModel === "host") domain.c("cpu", hostCpu(parts.virtType));
  domain.c("clock", { offset: "utc" });
  domain.c("on_poweroff").t("destroy");
  domain.c("on_reboot").t("restart");
  domain.c("on_crash").t("destroy");
  devices(domain.c("devices"), spec, parts);
  userNetworking(domain, parts);
  return domain.toString();
}

function cpuTuning(domain: Element, spec: VmSpec, { pinned }: GuestParts): void {
  if (spec.cpuShares === undefined && pinned === undefined) return;
  const tuning = domain.c("cputune");
  if (spec.cpuShares !== undefined) tuning.c("shares").t(String(spec.cpuShares));
  for (const [vcpu, cpu] of (pinned ?? []).entries()) {
    tuning.c("vcpupin", { vcpu: String(vcpu), cpuset: String(cpu) });
  }
}

/** PCI Express where a device or the firmware wants it; otherwise the older board, which every image knows. */
function isExpress(spec: VmSpec): boolean {
  return spec.firmware === "uefi" || spec.gpus > 0;
}

function firmware(domain: Element, spec: VmSpec, { uefi, nvram }: GuestParts): void {
  const os = domain.c("os");
  os.c("type", { arch: "x86_64", machine: isExpress(spec) ? "q35" : "pc" }).t("hvm");
  if (spec.firmware === "uefi") {
    os.c("loader", { readonly: "yes", type: "pflash" }).t(uefi.code);
    os.c("nvram", { template: uefi.variables }).t(nvram);
  }
  os.c("boot", { dev: "hd" });
}

function features(domain: Element, { virtType, tbCacheMiB }: GuestParts): void {
  const all = domain.c("features");
  all.c("acpi");
  all.c("apic");
  if (virtType === "qemu") all.c("tcg").c("tb-cache", { unit: "MiB" }).t(String(tbCacheMiB));
}

/** Emulation has no CPU of the host to pass on: the guest gets everything that the emulator can do. */
function hostCpu(virtType: GuestParts["virtType"]): Readonly<Record<string, string>> {
  return virtType === "kvm" ? { mode: "host-passthrough", migratable: "on" } : { mode: "maximum" };
}

function devices(all: Element, spec: VmSpec, parts: GuestParts): void {
  const disk = all.c("disk", { type: "file", device: "disk" });
  disk.c("driver", { name: "qemu", type: "qcow2", discard: "unmap" });
  disk.c("source", { file: parts.disk });
  disk.c("target", { dev: "vda", bus: "virtio" });
  const seed = all.c("disk", { type: "file", device: "cdrom" });
  seed.c("driver", { name: "qemu", type: "raw" });
  seed.c("source", { file: parts.seed });
  seed.c("target", isExpress(spec) ? { dev: "sda", bus: "sata" } : { dev: "hda", bus: "ide" });
  seed.c("readonly");
  for (const { nic, wiring } of parts.nics) if (wiring.kind !== "user") addInterface(all, nic, wiring);
  const serial = all.c("serial", { type: "pty" });
  serial.c("log", { file: parts.serialLog, append: "on" });
  serial.c("target", { port: "0" });
  all.c("console", { type: "pty" }).c("target", { type: "serial", port: "0" });
  all.c("channel", { type: "unix" }).c("target", { type: "virtio", name: "org.qemu.guest_agent.0" });
  all.c("rng", { model: "virtio" }).c("backend", { model: "random" }).t("/dev/urandom");
  all.c("memballoon", { model: "virtio", autodeflate: "on" }).c("stats", { period: String(BALLOON_STATS_S) });
  for (const address of parts.gpus) passThrough(all, address);
  if (isExpress(spec)) expressPorts(all, parts.nics.length + parts.gpus.length);
}

/** One for each device of ours that is plugged in, and some to spare. */
function expressPorts(all: Element, cards: number): void {
  all.c("controller", { type: "pci", index: "0", model: "pcie-root" });
  for (let index = 1; index <= FIXED_DEVICES + cards + SPARE_PORTS; index += 1) {
    all.c("controller", { type: "pci", index: String(index), model: "pcie-root-port" });
  }
}

/** libvirt takes the device from the host's driver for the guest, and gives it back. */
function passThrough(all: Element, address: string): void {
  const { domain = "", bus = "", slot = "", fn = "" } = PCI_ADDRESS.exec(address)?.groups ?? {};
  const device = all.c("hostdev", { mode: "subsystem", type: "pci", managed: "yes" });
  const place = { domain: `0x${domain}`, bus: `0x${bus}`, slot: `0x${slot}`, function: `0x${fn}` };
  device.c("source").c("address", place);
}

/** As `lspci -D` writes it: `0000:01:00.0`. */
export const PCI_ADDRESS = /^(?<domain>[0-9a-f]{4}):(?<bus>[0-9a-f]{2}):(?<slot>[01][0-9a-f])\.(?<fn>[0-7])$/;

/**
 * QEMU's own user networking, told to QEMU past libvirt, which cannot forward a port in it. The slots are far above those
 * that libvirt hands out from below.
 */
function userNetworking(domain: Element, { nics }: GuestParts): void {
  const words: string[] = [];
  for (const [index, { nic, wiring }] of nics.entries()) {
    if (wiring.kind !== "user") continue;
    const { address, port } = wiring.forward;
    const slot = (FIRST_USER_SLOT + index).toString(16);
    words.push("-netdev", `user,id=user${index},hostfwd=tcp:${address}:${port}-:22`);
    words.push("-device", `virtio-net-pci,netdev=user${index},mac=${nic.mac},host_mtu=${nic.mtu},addr=0x${slot}`);
  }
  if (words.length === 0) return;
  const line = domain.c("qemu:commandline");
  for (const word of words) line.c("qemu:arg", { value: word });
}

const FIRST_USER_SLOT = 0x18;
