/** A VM's disk: an empty qcow2 file over the image, which it shares with every other VM of that image. */
import { access, rename } from "node:fs/promises";
import { err, ok, type Result } from "@muster/base";
import { readOverlay } from "@muster/disk-image";
import type { GuestImage } from "@muster/protocol";
import { runProgram } from "./program.ts";

const CREATE_MS = 30_000;
const MIB_PER_GIB = 1_024;
const BYTES_PER_GIB = 2n ** 30n;

/** Whether the image fits into the disk that was asked for; the fault is a sentence. */
export function diskFits(image: GuestImage, diskGiB: number): Result<void, string> {
  if (image.virtualMiB <= diskGiB * MIB_PER_GIB) return ok(undefined);
  const leastGiB = Math.ceil(image.virtualMiB / MIB_PER_GIB);
  return err(`the image needs a disk of ${leastGiB} GiB and ${diskGiB} GiB were asked for`);
}

/** Makes the overlay at `path` over `base`, or leaves the one that is there. A crash leaves it whole or not at all. */
export async function makeDisk(
  path: string,
  base: string,
  format: GuestImage["format"],
  diskGiB: number,
): Promise<Result<void, string>> {
  if (await exists(path)) return ok(undefined);
  const part = `${path}.part`;
  const words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, part, `${diskGiB}G`] as const;
  const made = await runProgram(words, { timeoutMs: CREATE_MS });
  if (!made.ok) return err(`the disk cannot be made: ${made.error}`);
  await rename(part, path);
  return ok(undefined);
}

/** Makes an empty disk at `path`. */
export async function makeVolume(path: string, sizeGiB: number): Promise<Result<void, string>> {
  const part = `${path}.part`;
  const words = ["qemu-img", "create", "-q", "-f", "qcow2", part, `${sizeGiB}G`] as const;
  const made = await runProgram(words, { timeoutMs: CREATE_MS });
  if (!made.ok) return err(`the volume cannot be made: ${made.error}`);
  await rename(part, path);
  return ok(undefined);
}

/** Makes the disk at `path` bigger, of a VM that is stopped; one that has that size already is left as it is. */
export async function growDisk(path: string, sizeGiB: number): Promise<Result<void, string>> {
  const sizeBytes = BigInt(sizeGiB) * BYTES_PER_GIB;
  const disk = await readOverlay(path);
  if (disk === undefined) return err("the disk of the VM cannot be read");
  if (disk.virtualBytes === sizeBytes) return ok(undefined);
  if (disk.virtualBytes > sizeBytes) return err("a disk only grows: make a new VM for a smaller one");
  const words = ["qemu-img", "resize", "-q", "-f", "qcow2", path, `${sizeGiB}G`] as const;
  const grown = await runProgram(words, { timeoutMs: CREATE_MS });
  return grown.ok ? ok(undefined) : err(`the disk cannot be made bigger: ${grown.error}`);
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
