import { createReadStream } from "node:fs";
import { err, ok, type Result } from "@muster/base";
import { CorruptRecordError } from "../core/record-schema.ts";
import { BACKUP_LINE_MAX, type BackupHead, BackupReader } from "./backup-format.ts";
import { decodeStored } from "./record-check.ts";

/** What a whole backup says, once all of it was read and found sound. */
export type BackupSummary = {
  readonly head: BackupHead;
  readonly records: number;
  readonly sha256: string;
};

/**
 * Reads a backup from beginning to end, one record in memory at a time, and hands each on after it was decoded as what its
 * key says. Answers the first fault, with its line; what was handed on before it counts for nothing then.
 */
export async function readBackup(
  path: string,
  take: (key: string, value: unknown) => Promise<void> | void,
): Promise<Result<BackupSummary, string>> {
  const reader = new BackupReader();
  let head: BackupHead | undefined;
  let summary: BackupSummary | undefined;
  try {
    for await (const line of linesOf(path)) {
      const part = reader.take(line);
      if (!part.ok) return err(`${path}: ${part.error}`);
      if (part.value.kind === "head") head = part.value.head;
      else if (part.value.kind === "end" && head !== undefined) {
        const { records, sha256 } = part.value;
        summary = { head, records, sha256 };
      } else if (part.value.kind === "record") {
        const { key, value } = part.value;
        decodeStored(key, value);
        await take(key, value);
      }
    }
  } catch (cause) {
    if (cause instanceof CorruptRecordError) return err(`${path}: ${cause.message}`);
    return err(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (summary !== undefined) return ok(summary);
  return err(`${path} was cut off: its last line is missing; take another backup`);
}

/** Lines of a file, without holding more than one and what was read just now. A line without an end counts as none. */
async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = "";
  for await (const piece of createReadStream(path, { encoding: "utf8" })) {
    rest += String(piece);
    let from = 0;
    for (let at = rest.indexOf("\n"); at >= 0; at = rest.indexOf("\n", from)) {
      yield rest.slice(from, at);
      from = at + 1;
    }
    rest = rest.slice(from);
    if (rest.length > BACKUP_LINE_MAX) throw new Error(`a line is longer than ${BACKUP_LINE_MAX} characters`);
  }
}
