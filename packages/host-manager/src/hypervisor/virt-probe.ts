/** The smallest guest there is: one boot sector that writes a word to the first serial port and halts. Pure. */
import { Element } from "ltx";

export const PROBE_NAME = "muster-virt-probe";
export const PROBE_MARKER = "MUSTER-PROBE-OK";

const SECTOR_BYTES = 512;
const COM1 = 0x3f8;

/**
 * Real-mode code at 0x7c00 (Intel 64 SDM volume 2 for the opcodes): for every byte of the text, wait for the transmitter, send.
 * Its arithmetic runs in the guest itself, in ring 0: that is what a KVM that does not work never gets done.
 */
export function probeSector(): Uint8Array<ArrayBuffer> {
  const code = [
    0xfa, // cli
    0xfc, // cld
    ...[0x31, 0xc0], // xor ax, ax
    ...[0x8e, 0xd8], // mov ds, ax
    ...[0xbe, 0x1d, 0x7c], // mov si, 0x7c1d: the text below
    ...[0xba, (COM1 + 5) & 0xff, (COM1 + 5) >> 8], // next: mov dx, line status
    0xec, // wait: in al, dx
    ...[0xa8, 0x20], // test al, 0x20: is the transmitter empty?
    ...[0x74, 0xfb], // jz wait
    ...[0xba, COM1 & 0xff, COM1 >> 8], // mov dx, data
    0xac, // lodsb
    ...[0x84, 0xc0], // test al, al
    ...[0x74, 0x03], // jz halt
    0xee, // out dx, al
    ...[0xeb, 0xed], // jmp next
    0xf4, // halt: hlt
    // The text: 0x1d bytes in.
  ];
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set(code);
  sector.set(new TextEncoder().encode(`${PROBE_MARKER}\r\n\0`), code.length);
  sector.set([0x55, 0xaa], SECTOR_BYTES - 2);
  return sector;
}

export type ProbeParts = {
  readonly type: "kvm" | "qemu";
  readonly uuid: string;
  readonly disk: string;
  /** File that gets what the guest writes to its serial port. */
  readonly serial: string;
};

/** A transient domain: it is gone once it is destroyed. */
export function probeXml({ type, uuid, disk, serial }: ProbeParts): string {
  const domain = new Element("domain", { type });
  domain.c("name").t(PROBE_NAME);
  domain.c("uuid").t(uuid);
  domain.c("memory", { unit: "MiB" }).t("16");
  domain.c("vcpu").t("1");
  const os = domain.c("os");
  os.c("type", { arch: "x86_64", machine: "pc" }).t("hvm");
  os.c("boot", { dev: "hd" });
  const devices = domain.c("devices");
  const boot = devices.c("disk", { type: "file", device: "disk" });
  boot.c("driver", { name: "qemu", type: "raw" });
  boot.c("source", { file: disk });
  boot.c("target", { dev: "hda", bus: "ide" });
  devices.c("serial", { type: "file" }).c("source", { path: serial });
  devices.c("memballoon", { model: "none" });
  devices.c("controller", { type: "usb", model: "none" });
  return domain.toString();
}
