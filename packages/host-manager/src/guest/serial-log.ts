import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** A part of a log: bytes from `offset` on, of `size` in all. */
export type LogPart = { readonly data: Uint8Array; readonly offset: number; readonly size: number };

/**
 * At most `max` bytes of a file from `offset` on, or its last ones; an offset past its end is taken for its end.
 * `undefined` where there is no such file. QEMU writes it, so that nothing but an ordinary file is read.
 */
export async function readLogPart(path: string, offset: number | undefined, max: number): Promise<LogPart | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const found = await file.stat();
    if (!found.isFile()) return undefined;
    const { size } = found;
    const from = Math.min(offset ?? Math.max(0, size - max), size);
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(Math.min(max, size - from)), position: from });
    return { data: buffer.subarray(0, bytesRead), offset: from, size };
  } finally {
    await file.close();
  }
}
