import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, open, rename, rm, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { type ImageFault, imageFault } from "./image-fault.ts";
import { syncFolder } from "./sync-folder.ts";

export type TakeImage = {
  /** Where the image stands once it is whole and right; until then beside it, under a name of this taking that ends in `.part`. */
  readonly path: string;
  /** `sha256:` and 64 hex digits. */
  readonly digest: string;
  /** Most bytes that are taken (S2). */
  readonly bytesMax: number;
  /** What must stay free on the disk. */
  readonly spareBytes?: number;
  readonly onProgress?: (bytes: number) => void;
  /** Stops taking it in; what came is removed. */
  readonly signal?: AbortSignal;
};

/** How often free space is looked at. */
const SPACE_EVERY_BYTES = 64 * 2 ** 20;

/**
 * Takes a stream in under its digest: counted against its bound and hashed while it is written, then made durable, then
 * given its name. Whatever goes wrong, nothing of it is left.
 */
export async function takeImage(
  content: AsyncIterable<Uint8Array>,
  take: TakeImage,
): Promise<Result<{ readonly bytes: number }, ImageFault>> {
  // Two that take the same image in, as an old leader and the next one may, must not write into one file.
  const part = `${take.path}.${randomUUID()}.part`;
  let file: FileHandle;
  try {
    file = await open(part, "w", 0o644);
  } catch (cause) {
    return err(faultOf(cause));
  }
  try {
    // Whatever the umask: those who look into it for us own nothing, and QEMU has a user of its own.
    await file.chmod(0o644);
    const written = await write(file, content, take);
    if (written.ok) {
      await file.sync();
      await rename(part, take.path);
      await syncFolder(dirname(take.path));
    }
    return written;
  } catch (cause) {
    return err(faultOf(cause));
  } finally {
    await file.close();
    await rm(part, { force: true });
  }
}

async function write(
  file: FileHandle,
  content: AsyncIterable<Uint8Array>,
  take: TakeImage,
): Promise<Result<{ readonly bytes: number }, ImageFault>> {
  const hash = createHash("sha256");
  let bytes = 0;
  let lookedAt = 0;
  for await (const chunk of content) {
    if (take.signal?.aborted === true) return err(imageFault("interrupted", "it was given up"));
    bytes += chunk.byteLength;
    if (bytes > take.bytesMax)
      return err(imageFault("too-large", `it is larger than the ${take.bytesMax} bytes that are taken`));
    if (bytes - lookedAt >= SPACE_EVERY_BYTES || lookedAt === 0) {
      lookedAt = bytes;
      const free = await freeBytes(dirname(take.path));
      if (free < (take.spareBytes ?? 0) + chunk.byteLength)
        return err(imageFault("no-space", "the disk of the images is full: remove images or give it more room"));
    }
    hash.update(chunk);
    for (let at = 0; at < chunk.byteLength; ) at += (await file.write(chunk, at)).bytesWritten;
    take.onProgress?.(bytes);
  }
  const digest = `sha256:${hash.digest("hex")}`;
  if (digest !== take.digest)
    return err(imageFault("wrong-digest", `it should be ${take.digest} and is ${digest}: ${bytes} bytes came`));
  return ok({ bytes });
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function faultOf(cause: unknown): ImageFault {
  const error = cause instanceof Error ? cause : new Error(String(cause));
  const code = "code" in error ? error.code : undefined;
  if (code === "ENOSPC" || code === "EDQUOT")
    return imageFault("no-space", "the disk of the images is full: remove images or give it more room");
  return imageFault("interrupted", `the transfer broke off: ${error.message}`);
}
