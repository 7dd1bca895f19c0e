/**
 * What the first bytes of a disk image say, read by ourselves: a file that points outside of itself is refused before any
 * other program opens it. Layout: QEMU's docs/interop/qcow2.txt, section «Header».
 */
import { err, ok, type Result } from "@muster/base";
import { type ImageFault, imageFault } from "./image-fault.ts";

export type DiskFormat = "qcow2" | "raw";

/** How much of the file the header check wants to see. */
export const HEADER_BYTES = 112;

const QCOW2_MAGIC = "514649fb";
/** Formats that are none of ours and must not pass for raw: a program that guesses would believe the guest's bytes. */
const FOREIGN_MAGIC: ReadonlyArray<readonly [string, string]> = [
  [QCOW2_MAGIC, "qcow2"],
  ["51454400", "QED"],
  ["4b444d56", "VMDK"],
  ["434f5744", "VMDK"],
  ["7668647866696c65", "VHDX"],
  ["636f6e6563746978", "VHD"],
  ["4c554b53babe", "LUKS"],
];
const VERSION_AT = 4;
const BACKING_OFFSET_AT = 8;
const SIZE_AT = 24;
const CRYPT_METHOD_AT = 32;
const INCOMPATIBLE_AT = 72;
const V2_BYTES = 72;
const V3_BYTES = 104;
const DIRTY = 1n << 0n;
const CORRUPT = 1n << 1n;
const EXTERNAL_DATA = 1n << 2n;

/** The size of the disk in bytes by the header of a qcow2 file; a raw file says nothing of it. */
export function checkHeader(
  head: Uint8Array,
  format: DiskFormat,
): Result<{ readonly virtualBytes: number | undefined }, ImageFault> {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (format === "qcow2") return checkQcow2(bytes);
  const hex = bytes.toString("hex");
  const [, found] = FOREIGN_MAGIC.find(([magic]) => hex.startsWith(magic)) ?? [];
  if (found === undefined) return ok({ virtualBytes: undefined });
  const remedy = found === "qcow2" ? "add it with --image-format qcow2" : "convert it with qemu-img convert -O qcow2";
  return err(imageFault("wrong-format", `it is said to be raw and begins as a ${found} file: ${remedy}`));
}

function checkQcow2(bytes: Buffer): Result<{ readonly virtualBytes: number }, ImageFault> {
  if (bytes.toString("hex", 0, 4) !== QCOW2_MAGIC)
    return err(imageFault("wrong-format", "it is said to be qcow2 and does not begin like one"));
  if (bytes.length < V2_BYTES) return err(imageFault("truncated", "the file ends within its header"));
  const version = bytes.readUInt32BE(VERSION_AT);
  if (version !== 2 && version !== 3)
    return err(imageFault("wrong-format", `qcow2 of version ${version} is not known here: use 2 or 3`));
  if (bytes.readBigUInt64BE(BACKING_OFFSET_AT) !== 0n)
    return err(imageFault("backing-file", "it stands on another file: flatten it with qemu-img convert -O qcow2"));
  if (bytes.readUInt32BE(CRYPT_METHOD_AT) !== 0)
    return err(imageFault("encrypted", "it is encrypted, and no host has its key: store it decrypted"));
  if (version === 3) {
    if (bytes.length < V3_BYTES) return err(imageFault("truncated", "the file ends within its header"));
    const flags = bytes.readBigUInt64BE(INCOMPATIBLE_AT);
    if ((flags & EXTERNAL_DATA) !== 0n)
      return err(
        imageFault("external-data-file", "its data lies in another file: join them with qemu-img convert -O qcow2"),
      );
    if ((flags & (DIRTY | CORRUPT)) !== 0n)
      return err(imageFault("damaged", "it was not closed properly: mend it with qemu-img check -r all"));
  }
  const virtualBytes = bytes.readBigUInt64BE(SIZE_AT);
  if (virtualBytes === 0n) return err(imageFault("damaged", "its disk has no size"));
  if (virtualBytes > BigInt(Number.MAX_SAFE_INTEGER))
    return err(imageFault("damaged", "its disk is larger than any disk"));
  return ok({ virtualBytes: Number(virtualBytes) });
}
