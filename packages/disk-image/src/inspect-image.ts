import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { decode, describeFaults, err, ok, type Result } from "@muster/base";
import { z } from "zod";
import { CONFINED_FILE, runConfined } from "./confined.ts";
import {
  checkHeader,
  type DiskFormat,
  headOf,
  IS_ENCRYPTED,
  NAMES_BACKING_FILE,
  NAMES_EXTERNAL_DATA,
} from "./disk-header.ts";
import { type ImageFault, imageFault } from "./image-fault.ts";

/** What is in an image file that may be given to guests. */
export type DiskImage = {
  readonly format: DiskFormat;
  /** Of the file. */
  readonly bytes: number;
  /** Of the disk in it, rounded up. */
  readonly virtualMiB: number;
};

const MIB = 2 ** 20;
const SECTOR_BYTES = 512;

/** `qemu-img info --output=json`, as much as counts here. */
const infoSchema = z.object({
  format: z.string(),
  "virtual-size": z.int().min(0),
  "backing-filename": z.string().optional(),
  "full-backing-filename": z.string().optional(),
  encrypted: z.boolean().optional(),
  "format-specific": z.object({ data: z.object({ "data-file": z.string().optional() }).optional() }).optional(),
});

/**
 * Looks into a disk image from a stranger: it is of the declared format, complete, and points to nothing outside of itself.
 * First its header is read here, then qemu-img reads it as nobody, with bounds on memory and time. Run by root, it makes the
 * file readable to all: what keeps an image private is its folder.
 */
export function inspectImage(path: string, format: DiskFormat): Promise<Result<DiskImage, ImageFault>> {
  return withFile(path, async (file) => {
    const byHeader = await inspectOpen(file, format);
    if (!byHeader.ok) return byHeader;
    await makeReadable(file);
    const info = await readInfo(file, format);
    if (!info.ok) return info;
    if (mibOf(info.value["virtual-size"]) !== byHeader.value.virtualMiB)
      return err(imageFault("damaged", "its header and qemu-img do not agree about the size of its disk"));
    const whole = format === "qcow2" ? await checkWhole(file) : ok(undefined);
    return whole.ok ? byHeader : whole;
  });
}

/** The part of `inspectImage` that reads the first bytes alone: quick enough to be done at each use. */
export function inspectHeader(path: string, format: DiskFormat): Promise<Result<DiskImage, ImageFault>> {
  return withFile(path, (file) => inspectOpen(file, format));
}

async function withFile(
  path: string,
  look: (file: FileHandle) => Promise<Result<DiskImage, ImageFault>>,
): Promise<Result<DiskImage, ImageFault>> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    return err(imageFault("damaged", `it cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`));
  }
  try {
    return await look(file);
  } finally {
    await file.close();
  }
}

async function inspectOpen(file: FileHandle, format: DiskFormat): Promise<Result<DiskImage, ImageFault>> {
  const stat = await file.stat();
  if (!stat.isFile()) return err(imageFault("damaged", "it is no ordinary file"));
  if (stat.size === 0) return err(imageFault("truncated", "the file is empty"));
  const header = checkHeader(await headOf(file), format);
  if (!header.ok) return header;
  if (format === "raw" && stat.size % SECTOR_BYTES !== 0)
    return err(imageFault("truncated", `a raw disk is a multiple of ${SECTOR_BYTES} bytes, this has ${stat.size}`));
  return ok({ format, bytes: stat.size, virtualMiB: mibOf(header.value.virtualBytes ?? stat.size) });
}

/** qemu-img opens the file by a name, as nobody. */
async function makeReadable(file: FileHandle): Promise<void> {
  const { mode } = await file.stat();
  if (process.getuid?.() === 0 && (mode & constants.S_IROTH) === 0) await file.chmod((mode & 0o777) | 0o444);
}

function mibOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / MIB));
}

async function readInfo(
  file: FileHandle,
  format: DiskFormat,
): Promise<Result<z.output<typeof infoSchema>, ImageFault>> {
  const ended = await runConfined(file.fd, ["info", "-U", "--output=json", "-f", format, CONFINED_FILE]);
  if (!ended.ok) return ended;
  if (ended.value.code !== 0)
    return err(imageFault("damaged", `it cannot be read as ${format}: ${said(ended.value.stderr)}`));
  const decoded = decode(infoSchema, parsed(ended.value.stdout));
  if (!decoded.ok) return err(imageFault("not-inspected", `qemu-img info: ${describeFaults(decoded.error)}`));
  const info = decoded.value;
  if (info.format !== format) return err(imageFault("wrong-format", `it is ${info.format}, not ${format}`));
  if (info["backing-filename"] !== undefined || info["full-backing-filename"] !== undefined)
    return err(NAMES_BACKING_FILE);
  if (info["format-specific"]?.data?.["data-file"] !== undefined) return err(NAMES_EXTERNAL_DATA);
  if (info.encrypted === true) return err(IS_ENCRYPTED);
  return ok(info);
}

/** `qemu-img check` counts what the tables point to: parts past the end of the file are what a broken transfer leaves. */
async function checkWhole(file: FileHandle): Promise<Result<void, ImageFault>> {
  const ended = await runConfined(file.fd, ["check", "-U", "-q", "-f", "qcow2", CONFINED_FILE]);
  if (!ended.ok) return ended;
  const { code, stderr, stdout } = ended.value;
  // 3: clusters that nobody uses, which harms nothing (qemu-img(1)).
  if (code === 0 || code === 3) return ok(undefined);
  if (/end of the file|outside image|past the end/i.test(`${stderr}${stdout}`))
    return err(
      imageFault("truncated", "it is truncated: parts of it would lie past the end of the file; fetch it again"),
    );
  return err(imageFault("damaged", `qemu-img check finds it broken: ${said(`${stderr}\n${stdout}`)}`));
}

/** What the tool said, as one line without the file's name. */
function said(text: string): string {
  const line = text
    .replaceAll(CONFINED_FILE, "it")
    .replace(/\p{Cc}+/gu, " ")
    .trim();
  return line === "" ? "it gives no reason" : line.slice(0, 200);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
