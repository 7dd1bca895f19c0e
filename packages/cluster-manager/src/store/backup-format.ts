/**
 * A backup of a site's store: JSON lines (UTF-8). The first says what it is, then one line a record in order of key, the
 * last one counts them and carries the SHA-256 of everything before it: a backup that was cut off, or changed, is none.
 *
 * ```
 * {"format":"muster-backup","version":1,"site":"alpha.example","schema":1,"term":7,"manager":"a","takenAt":"…"}
 * ["vm/0190…",{…}]
 * {"end":true,"records":1,"sha256":"…"}
 * ```
 */
import { createHash, type Hash } from "node:crypto";
import { decode, describeFaults, err, ok, type Result } from "@muster/base";
import { z } from "zod";
import { readValue } from "./record-value.ts";
import { newerSchema, STORE_SCHEMA } from "./store-fault.ts";

/** Longest line that is read (S2): above the largest record that any store takes. */
export const BACKUP_LINE_MAX = 4 * 1024 * 1024;
/** Text is handed on in pieces of about this length. */
const PIECE_LENGTH = 64 * 1024;

const backupHeadSchema = z.object({
  format: z.literal("muster-backup", "is no backup of Muster"),
  version: z.literal(1, "is a version of the format that is not known here; use the version of Muster that wrote it"),
  site: z.string().min(1),
  schema: z.int().min(1),
  /** Term of the leader that wrote it. */
  term: z.int().min(1),
  manager: z.string(),
  takenAt: z.iso.datetime(),
});
export type BackupHead = z.output<typeof backupHeadSchema>;

const backupEndSchema = z.object({ end: z.literal(true), records: z.int().min(0), sha256: z.string() });
const backupRecordSchema = z.tuple([z.string().min(1), z.unknown()]);

/** What a reader of a backup comes upon, in this order: a head, records, and an end that proves them. */
export type BackupPart =
  | { readonly kind: "head"; readonly head: BackupHead }
  | { readonly kind: "record"; readonly key: string; readonly value: unknown }
  | { readonly kind: "end"; readonly records: number; readonly sha256: string };

/** Writes a backup piece by piece, in bounded memory. Throws, naming its key, where a record is no JSON. */
export async function* writeBackup(
  head: Omit<BackupHead, "format" | "version" | "schema">,
  records: AsyncIterable<readonly [string, string]>,
): AsyncGenerator<string> {
  const hash = createHash("sha256");
  const first = { format: "muster-backup", version: 1, schema: STORE_SCHEMA, ...head };
  let piece = `${JSON.stringify(first)}\n`;
  let count = 0;
  for await (const [key, text] of records) {
    piece += `${JSON.stringify([key, readValue(key, text)])}\n`;
    count += 1;
    if (piece.length < PIECE_LENGTH) continue;
    hash.update(piece);
    yield piece;
    piece = "";
  }
  hash.update(piece);
  yield `${piece}${JSON.stringify({ end: true, records: count, sha256: hash.digest("hex") })}\n`;
}

/** Reads a backup line by line as `BackupPart`s; the first fault ends it, naming line and remedy. */
export class BackupReader {
  readonly #hash: Hash = createHash("sha256");
  #line = 0;
  #records = 0;
  #ended = false;

  take(line: string): Result<BackupPart, string> {
    this.#line += 1;
    if (this.#ended) return err(`line ${this.#line}: something follows the end; two backups in one file?`);
    const value = parsed(line);
    if (value === undefined) return this.#fault("is no JSON");
    const part = this.#line === 1 ? this.#head(value) : this.#next(value);
    if (part.ok && part.value.kind !== "end") this.#hash.update(`${line}\n`);
    return part;
  }

  #head(value: unknown): Result<BackupPart, string> {
    const head = decode(backupHeadSchema, value);
    if (!head.ok) return err(`this is no backup that can be read: ${describeFaults(head.error)}`);
    if (head.value.schema > STORE_SCHEMA) return err(newerSchema("the backup", head.value.schema).message);
    return ok({ kind: "head", head: head.value });
  }

  #next(value: unknown): Result<BackupPart, string> {
    if (!Array.isArray(value)) return this.#end(value);
    const record = decode(backupRecordSchema, value);
    if (!record.ok) return this.#fault(describeFaults(record.error));
    const [key, content] = record.value;
    this.#records += 1;
    return ok({ kind: "record", key, value: content });
  }

  #end(value: unknown): Result<BackupPart, string> {
    const end = decode(backupEndSchema, value);
    if (!end.ok) return this.#fault(describeFaults(end.error));
    const { records, sha256 } = end.value;
    const found = this.#hash.digest("hex");
    if (records !== this.#records || sha256 !== found)
      return this.#fault(`it ends after ${this.#records} records with digest ${found}, and says ${records}, ${sha256}`);
    this.#ended = true;
    return ok({ kind: "end", records, sha256 });
  }

  #fault(what: string): Result<never, string> {
    return err(`line ${this.#line} is damaged: ${what}; take another backup`);
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
