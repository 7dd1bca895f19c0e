/** Whether a fetched file is the disk image it was said to be, and nothing that reaches for other files of the host. */
import { stat } from "node:fs/promises";
import { err, ok, type Result } from "@muster/base";
import type { GuestImage } from "@muster/protocol";
import { z } from "zod";
import { confined, runProgram, type Words } from "../guest/program.ts";
import { formatOfRaw, headOf, qcow2Header } from "./qcow2-header.ts";

const CHECK_MS = 20_000;
const BYTES_PER_MIB = 2 ** 20;

/** `qemu-img info --output=json`, as far as it matters. */
const infoSchema = z.object({
  format: z.string(),
  "virtual-size": z.number(),
  "backing-filename": z.string().optional(),
  "format-specific": z.object({ data: z.object({ "data-file": z.string().optional() }).optional() }).optional(),
});

/** The fault is a sentence for the one who asked for the VM. The file must be readable by everybody. */
export async function checkImage(path: string, image: GuestImage): Promise<Result<void, string>> {
  const byHeader = await checkHeader(path, image);
  if (!byHeader.ok) return byHeader;
  // A raw disk is only its bytes: there is nothing in it for a program to read.
  if (image.format === "raw") return ok(undefined);
  const text = await runProgram(confined(infoOf(image.format)), { timeoutMs: CHECK_MS, input: path });
  if (!text.ok) return err(`the image cannot be read as ${image.format}: ${text.error}`);
  const info = infoSchema.safeParse(parsed(text.value));
  if (!info.success) return err("qemu-img describes the image in a way that is not understood");
  const { "backing-filename": backing, "format-specific": specific } = info.data;
  if (backing !== undefined) return err(BACKING);
  if (specific?.data?.["data-file"] !== undefined) return err(EXTERNAL);
  return checkSize(info.data["virtual-size"], image);
}

/** The part that reads the first bytes alone: quick enough to be done at each use. */
export async function checkHeader(path: string, image: GuestImage): Promise<Result<void, string>> {
  const head = await headOf(path);
  if (image.format === "raw") {
    const other = formatOfRaw(head);
    if (other !== undefined)
      return err(`the image is said to be raw and begins like ${other}: add it as ${other}, or convert it`);
    return checkSize((await stat(path)).size, image);
  }
  const header = qcow2Header(head);
  if (header === undefined) return err("the image is said to be qcow2 and does not begin like one");
  if (header.backingFile !== undefined) return err(BACKING);
  if (header.hasExternalData) return err(EXTERNAL);
  if (header.isEncrypted) return err("the image is encrypted: add it without encryption");
  return checkSize(Number(header.virtualBytes), image);
}

const BACKING = "the image names a backing file, which would be read on this host: flatten it with qemu-img convert";
const EXTERNAL =
  "the image names an external data file, which would be read on this host: flatten it with qemu-img convert";

function checkSize(virtualBytes: number, { virtualMiB }: GuestImage): Result<void, string> {
  const actualMiB = Math.ceil(virtualBytes / BYTES_PER_MIB);
  if (actualMiB === virtualMiB) return ok(undefined);
  return err(`the disk in the image has ${actualMiB} MiB and ${virtualMiB} MiB were declared`);
}

/** The file is the program's standard input; the format is forced, so that nothing is guessed from a stranger's bytes. */
function infoOf(format: string): Words {
  return ["qemu-img", "info", "--output=json", "-f", format, "/dev/stdin"];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
