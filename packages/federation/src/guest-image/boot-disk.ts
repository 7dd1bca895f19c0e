import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ok, type Result } from "@muster/base";
import { runProgram } from "../process/run-program.ts";
import { BOOT_FILES } from "./inputs.ts";

/** In MiB: the whole disk, where the boot partition begins and how large it is; the rest is for what the guest keeps. */
const DISK_MIB = 96;
const BOOT_AT_MIB = 1;
const BOOT_MIB = 40;
const STATE_MIB = DISK_MIB - BOOT_AT_MIB - BOOT_MIB;
const SECTORS_A_MIB = 2_048;

/** Makes a disk that a PC's BIOS boots from: SYSLINUX with kernel and initial RAM disk on FAT, and an empty ext4 file system. */
export async function buildBootDisk(
  files: { readonly vmlinuz: string; readonly initrd: string },
  work: string,
): Promise<Result<{ readonly path: string; readonly virtualMiB: number }, string>> {
  const [boot, state, disk, image] = ["boot.img", "state.img", "disk.raw", "guest.qcow2"].map((name) =>
    join(work, name),
  ) as [string, string, string, string];
  writeSparse(boot, BOOT_MIB);
  writeSparse(state, STATE_MIB);
  writeSparse(disk, DISK_MIB);
  const table = [
    "label: dos",
    `start=${BOOT_AT_MIB * SECTORS_A_MIB},size=${BOOT_MIB * SECTORS_A_MIB},type=c,bootable`,
    `start=${(BOOT_AT_MIB + BOOT_MIB) * SECTORS_A_MIB},type=83`,
    "",
  ].join("\n");
  const copyInto = (from: string, atMiB: number): readonly string[] => [
    `if=${from}`,
    `of=${disk}`,
    "bs=1M",
    `seek=${atMiB}`,
    "conv=notrunc,sparse",
    "status=none",
  ];
  const steps: ReadonlyArray<readonly [string, readonly string[], string?]> = [
    // Large clusters: the BIOS reads a file in fewer and longer pieces.
    ["mkfs.vfat", ["-n", "BOOT", "-s", "32", boot]],
    ["mcopy", ["-i", boot, files.vmlinuz, "::/vmlinuz"]],
    ["mcopy", ["-i", boot, files.initrd, "::/initrd.img"]],
    ["mcopy", ["-i", boot, join(BOOT_FILES, "syslinux.cfg"), "::/syslinux.cfg"]],
    ["syslinux", ["--install", boot]],
    ["mke2fs", ["-q", "-t", "ext4", "-L", "state", state]],
    ["sfdisk", ["-q", disk], table],
    ["dd", ["if=/usr/lib/syslinux/mbr/mbr.bin", `of=${disk}`, "bs=440", "count=1", "conv=notrunc", "status=none"]],
    ["dd", copyInto(boot, BOOT_AT_MIB)],
    ["dd", copyInto(state, BOOT_AT_MIB + BOOT_MIB)],
    ["qemu-img", ["convert", "-c", "-O", "qcow2", disk, image]],
  ];
  for (const [program, args, input] of steps) {
    const ran = await runProgram(program, args, { cwd: work, ...(input === undefined ? {} : { input }) });
    if (!ran.ok) return ran;
  }
  return ok({ path: image, virtualMiB: DISK_MIB });
}

function writeSparse(path: string, sizeMiB: number): void {
  writeFileSync(path, "");
  truncateSync(path, sizeMiB * 1024 * 1024);
}
