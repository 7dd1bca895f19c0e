import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { err, ok, type Result } from "@muster/base";

export type ImageFile = {
  readonly digest: string;
  readonly bytes: number;
  /** By its first bytes. */
  readonly format: "qcow2" | "raw";
};

const QCOW2_MAGIC = Buffer.from("514649fb", "hex");

/** Reads an image file once from end to end; the error names the file. */
export async function describeImageFile(path: string): Promise<Result<ImageFile, string>> {
  const hash = createHash("sha256");
  let bytes = 0;
  let head = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
      if (head.length < QCOW2_MAGIC.length) head = Buffer.concat([head, chunk.subarray(0, QCOW2_MAGIC.length)]);
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (cause) {
    return err(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (bytes === 0) return err(`${path} is empty`);
  const format = head.subarray(0, QCOW2_MAGIC.length).equals(QCOW2_MAGIC) ? "qcow2" : "raw";
  return ok({ digest: `sha256:${hash.digest("hex")}`, bytes, format });
}
