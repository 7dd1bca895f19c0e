/** A VM's disk: an empty qcow2 file over the image, which it shares with every other VM of that image. */
import { access, rename } from "node:fs/promises";
import { err, ok, type Result } from "@muster/base";
import type { GuestImage } from "@muster/protocol";
import { runProgram } from "./program.ts";

const CREATE_MS = 30_000;
const MIB_PER_GIB = 1_024;

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

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
