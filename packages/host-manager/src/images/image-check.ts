/** Whether a file on this host is the disk image it was said to be; the fault is a sentence for the one who asked for the VM. */
import { err, ok, type Result } from "@muster/base";
import { type DiskImage, type ImageFault, inspectHeader, inspectImage } from "@muster/disk-image";
import type { GuestImage } from "@muster/protocol";

/** All of it, once: when it has come. */
export async function checkImage(path: string, image: GuestImage): Promise<Result<void, string>> {
  return compare(await inspectImage(path, image.format), image);
}

/** Its first bytes and its size, quick enough to be done at each use. */
export async function checkHeader(path: string, image: GuestImage): Promise<Result<void, string>> {
  return compare(await inspectHeader(path, image.format), image);
}

function compare(found: Result<DiskImage, ImageFault>, declared: GuestImage): Result<void, string> {
  if (!found.ok) return err(`the image is refused: ${found.error.message}`);
  const { bytes, virtualMiB } = found.value;
  if (bytes !== declared.bytes) return err(`the image has ${bytes} bytes and ${declared.bytes} were declared`);
  if (virtualMiB === declared.virtualMiB) return ok(undefined);
  return err(`the disk in the image has ${virtualMiB} MiB and ${declared.virtualMiB} MiB were declared`);
}
