/**
 * What the first bytes of a disk image say, read by ourselves: a file that points outside of itself is refused before any
 * other program opens it. Layout: QEMU's docs/interop/qcow2.txt, section «Header».
 */
import type { FileHandle } from "node:fs/promises";
import { err, ok, type Result } from "@muster/base";
import { type ImageFault, imageFault } from "./image-fault.ts";

export type DiskFormat = "qcow2" | "raw";

export type Qcow2Header = {
  readonly version: number;
  readonly virtualBytes: bigint;
  /** File that lies under this one, as the header names it. */
  readonly backingFile?: string;
  readonly hasExternalData: boolean;
  readonly isEncrypted: boolean;
  /** Not closed properly, or known to be broken. */
  readonly isDamaged: boolean;
};

/** How much of a file is looked at. */
const HEAD_BYTES = 4_096;

const BACKING_OFFSET_AT = 8;
const BACKING_LENGTH_AT = 16;
const SIZE_AT = 24;
const CRYPT_METHOD_AT = 32;
const INCOMPATIBLE_AT = 72;
const V2_BYTES = 72;
const V3_BYTES = 104;
const BACKING_NAME_BYTES_MAX = 1_023;
const DIRTY = 1n << 0n;
const CORRUPT = 1n << 1n;
const EXTERNAL_DATA = 1n << 2n;

const QCOW2_MAGIC = Buffer.from([0x51, 0x46, 0x49, 0xfb]);
/** Formats that QEMU tells by the first bytes: a program that guesses would take a raw disk that begins like one for it. */
const SIGNATURES: ReadonlyArray<readonly [format: string, at: number, bytes: Buffer]> = [
  ["qcow2", 0, QCOW2_MAGIC],
  ["QED", 0, Buffer.from("QED\0")],
  ["VMDK", 0, Buffer.from("KDMV")],
  ["VMDK", 0, Buffer.from("COWD")],
  ["VMDK", 0, Buffer.from("# Disk DescriptorFile")],
  ["VHDX", 0, Buffer.from("vhdxfile")],
  ["VHD", 0, Buffer.from("conectix")],
  ["VDI", 64, Buffer.from([0x7f, 0x10, 0xda, 0xbe])],
  ["LUKS", 0, Buffer.from("LUKS\xba\xbe", "latin1")],
  ["parallels", 0, Buffer.from("WithoutFreeSpace")],
  ["parallels", 0, Buffer.from("WithouFreSpacExt")],
  ["bochs", 0, Buffer.from("Bochs Virtual HD Image")],
  ["cloop", 0, Buffer.from("#!/bin/sh\n#V2.0 Format\n")],
];

/** The size of the disk in bytes by the header of a qcow2 file; a raw file says nothing of it. */
export function checkHeader(
  head: Buffer,
  format: DiskFormat,
): Result<{ readonly virtualBytes: number | undefined }, ImageFault> {
  if (format === "qcow2") return checkQcow2(head);
  const [found] = SIGNATURES.find(([, at, bytes]) => beginsAt(head, at, bytes)) ?? [];
  if (found === undefined) return ok({ virtualBytes: undefined });
  const remedy = found === "qcow2" ? "add it as qcow2" : "convert it with qemu-img convert -O qcow2";
  return err(imageFault("wrong-format", `it is said to be raw and begins like ${found}: ${remedy}`));
}

export const NAMES_BACKING_FILE = imageFault(
  "backing-file",
  "it names a backing file, which would be read on the host: flatten it with qemu-img convert -O qcow2",
);
export const NAMES_EXTERNAL_DATA = imageFault(
  "external-data-file",
  "it names an external data file, which would be read on the host: flatten it with qemu-img convert -O qcow2",
);
export const IS_ENCRYPTED = imageFault("encrypted", "it is encrypted, and no host has its key: store it decrypted");

function checkQcow2(head: Buffer): Result<{ readonly virtualBytes: number }, ImageFault> {
  if (!beginsAt(head, 0, QCOW2_MAGIC))
    return err(imageFault("wrong-format", "it is said to be qcow2 and does not begin like one"));
  const header = qcow2Header(head);
  if (header === undefined) return err(imageFault("truncated", "the file ends within its header"));
  const { version, virtualBytes } = header;
  if (version !== 2 && version !== 3)
    return err(imageFault("wrong-format", `qcow2 of version ${version} is not known here: use 2 or 3`));
  if (header.backingFile !== undefined) return err(NAMES_BACKING_FILE);
  if (header.hasExternalData) return err(NAMES_EXTERNAL_DATA);
  if (header.isEncrypted) return err(IS_ENCRYPTED);
  if (header.isDamaged)
    return err(imageFault("damaged", "it was not closed properly: mend it with qemu-img check -r all"));
  if (virtualBytes === 0n) return err(imageFault("damaged", "its disk has no size"));
  if (virtualBytes > BigInt(Number.MAX_SAFE_INTEGER))
    return err(imageFault("damaged", "its disk is larger than any disk"));
  return ok({ virtualBytes: Number(virtualBytes) });
}

/** `undefined` where the bytes are no qcow2 header, or not all of it. */
export function qcow2Header(head: Buffer): Qcow2Header | undefined {
  if (head.length < V2_BYTES || !beginsAt(head, 0, QCOW2_MAGIC)) return undefined;
  const version = head.readUInt32BE(QCOW2_MAGIC.length);
  if (version >= 3 && head.length < V3_BYTES) return undefined;
  const flags = version >= 3 ? head.readBigUInt64BE(INCOMPATIBLE_AT) : 0n;
  const nameAt = head.readBigUInt64BE(BACKING_OFFSET_AT);
  return {
    version,
    virtualBytes: head.readBigUInt64BE(SIZE_AT),
    hasExternalData: (flags & EXTERNAL_DATA) !== 0n,
    isEncrypted: head.readUInt32BE(CRYPT_METHOD_AT) !== 0,
    isDamaged: (flags & (DIRTY | CORRUPT)) !== 0n,
    ...(nameAt === 0n ? {} : { backingFile: nameIn(head, nameAt, head.readUInt32BE(BACKING_LENGTH_AT)) }),
  };
}

/** The first bytes of an open file, fewer where it is shorter. */
export async function headOf(file: FileHandle): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(HEAD_BYTES), position: 0 });
  return buffer.subarray(0, bytesRead);
}

function nameIn(head: Buffer, at: bigint, length: number): string {
  if (length > BACKING_NAME_BYTES_MAX || at + BigInt(length) > BigInt(head.length)) return "(a name out of reach)";
  return head.toString("utf8", Number(at), Number(at) + length);
}

function beginsAt(head: Buffer, at: number, bytes: Buffer): boolean {
  return head.subarray(at, at + bytes.length).equals(bytes);
}
