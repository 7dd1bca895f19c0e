/**
 * The smallest guest that proves a processor: one boot sector. It enters protected mode, as every kernel does, counts to a
 * hundred million there, writes a word to the first serial port and halts. Hardware takes a tenth of a second for that. A KVM
 * that takes each instruction of a kernel apart in software runs the sector as well, and would take minutes: the deadline
 * tells the two apart. Pure.
 */
import { Element } from "ltx";

export const PROBE_NAME = "muster-virt-probe";
export const PROBE_MARKER = "MUSTER-PROBE-OK";

const SECTOR_BYTES = 512;
const COUNT = [0x00, 0xe1, 0xf5, 0x05]; // 100,000,000, little-endian
const GDT_AT = 0x80;
const GDT_POINTER_AT = 0x98;
const TEXT_AT = 0x100;

/** Code at 0x7c00, which is where firmware puts a boot sector (Intel 64 SDM volume 2 for the opcodes, 3A 9.9.1 for the mode). */
export function probeSector(): Uint8Array<ArrayBuffer> {
  const code = [
    ...[0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8], // cli; cld; xor ax, ax; mov ds, ax
    ...[0x0f, 0x01, 0x16, GDT_POINTER_AT, 0x7c], // lgdt [0x7c98]
    ...[0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0], // mov eax, cr0; or al, 1; mov cr0, eax
    ...[0xea, 0x18, 0x7c, 0x08, 0x00], // jmp 0x08:0x7c18: from here on 32 bits
    ...[0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd8], // mov eax, 0x10; mov ds, ax
    ...[0xb9, ...COUNT, 0x49, 0x75, 0xfd], // mov ecx, COUNT; count: dec ecx; jnz count
    ...[0xbe, 0x00, 0x7d, 0x00, 0x00], // mov esi, 0x7d00: the text
    ...[0xac, 0x84, 0xc0, 0x74, 0x16, 0x88, 0xc4], // next: lodsb; test al, al; jz halt; mov ah, al
    ...[0xba, 0xfd, 0x03, 0x00, 0x00], // mov edx, 0x3fd: line status of COM1
    ...[0xec, 0xa8, 0x20, 0x74, 0xfb], // wait: in al, dx; test al, 0x20; jz wait
    ...[0xba, 0xf8, 0x03, 0x00, 0x00, 0x88, 0xe0, 0xee], // mov edx, 0x3f8: data; mov al, ah; out dx, al
    ...[0xeb, 0xe5], // jmp next
    ...[0xf4, 0xeb, 0xfd], // halt: hlt; jmp halt
  ];
  const flat = (access: number): number[] => [0xff, 0xff, 0x00, 0x00, 0x00, access, 0xcf, 0x00];
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set(code);
  sector.set([...flat(0x9a), ...flat(0x92)], GDT_AT + 8);
  sector.set([23, 0x00, GDT_AT, 0x7c, 0x00, 0x00], GDT_POINTER_AT);
  sector.set(new TextEncoder().encode(`${PROBE_MARKER}\r\n\0`), TEXT_AT);
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
