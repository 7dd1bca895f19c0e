/**
 * What the first bytes of a disk image say of it. Read here, before any program of QEMU's opens the file: a header can name
 * other files of the host. Layout: QEMU's docs/interop/qcow2.txt.
 */
import { open } from "node:fs/promises";

/** Bytes of a file that are looked at. */
const HEAD_BYTES = 4_096;
const QCOW2_MAGIC = 0x51_46_49_fb;
const BACKING_NAME_BYTES_MAX = 1_023;
/** Bit 2 of the incompatible features: clusters lie in another file. */
const EXTERNAL_DATA = 1n << 2n;

export type Qcow2Header = {
  readonly version: number;
  readonly virtualBytes: bigint;
  /** File that lies under this one, as the header names it. */
  readonly backingFile?: string;
  readonly hasExternalData: boolean;
  readonly isEncrypted: boolean;
};

/** The first bytes of a file, fewer where it is shorter. */
export async function headOf(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** `undefined` where the bytes are no qcow2 header. */
export function qcow2Header(head: Buffer): Qcow2Header | undefined {
  if (head.length < 72 || head.readUInt32BE(0) !== QCOW2_MAGIC) return undefined;
  const version = head.readUInt32BE(4);
  const nameAt = head.readBigUInt64BE(8);
  const nameBytes = head.readUInt32BE(16);
  const features = version >= 3 && head.length >= 80 ? head.readBigUInt64BE(72) : 0n;
  return {
    version,
    virtualBytes: head.readBigUInt64BE(24),
    hasExternalData: (features & EXTERNAL_DATA) !== 0n,
    isEncrypted: head.readUInt32BE(32) !== 0,
    ...(nameAt === 0n ? {} : { backingFile: nameIn(head, nameAt, nameBytes) }),
  };
}

/** Formats that QEMU tells by the first bytes: a raw disk that begins like one could be taken for it. */
const SIGNATURES: ReadonlyArray<readonly [name: string, at: number, bytes: Buffer]> = [
  ["qcow2", 0, Buffer.from([0x51, 0x46, 0x49, 0xfb])],
  ["qed", 0, Buffer.from("QED\0")],
  ["vmdk", 0, Buffer.from("KDMV")],
  ["vmdk", 0, Buffer.from("COWD")],
  ["vmdk", 0, Buffer.from("# Disk DescriptorFile")],
  ["vhdx", 0, Buffer.from("vhdxfile")],
  ["vpc", 0, Buffer.from("conectix")],
  ["vdi", 64, Buffer.from([0x7f, 0x10, 0xda, 0xbe])],
  ["luks", 0, Buffer.from("LUKS\xba\xbe", "latin1")],
  ["parallels", 0, Buffer.from("WithoutFreeSpace")],
  ["parallels", 0, Buffer.from("WithouFreSpacExt")],
  ["bochs", 0, Buffer.from("Bochs Virtual HD Image")],
];

/** Which other format a raw disk could be taken for; `undefined` where none. */
export function formatOfRaw(head: Buffer): string | undefined {
  return SIGNATURES.find(([, at, bytes]) => head.subarray(at, at + bytes.length).equals(bytes))?.[0];
}

function nameIn(head: Buffer, at: bigint, length: number): string {
  if (length > BACKING_NAME_BYTES_MAX || at + BigInt(length) > BigInt(head.length)) return "(a name out of reach)";
  return head.toString("utf8", Number(at), Number(at) + length);
}
