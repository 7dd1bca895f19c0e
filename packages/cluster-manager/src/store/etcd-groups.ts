import { err, ok, type Result } from "@muster/base";
import type { EtcdOperation } from "./etcd/messages.ts";
import type { EtcdLayout, Write } from "./etcd-layout.ts";

/**
 * etcd's own default is 128 operations a transaction (`--max-txn-ops`), the commit's number and the end of a stage
 * among them; 1.5 MiB a request (`--max-request-bytes`).
 */
export const GROUP = { writesMax: 120, bytesMax: 1024 * 1024 } as const;
/** Largest record: within a stage's JSON it may take twice its size. */
export const RECORD_BYTES_MAX = GROUP.bytesMax / 2;
/** Largest commit: what a leader may have in memory a second time. */
export const COMMIT_BYTES_MAX = 64 * 1024 * 1024;
/** What a key and its value take beside their own bytes. */
const FRAME_BYTES = 32;

/** Writes in groups that each fit a transaction; one group: no stage needed. Refused: above what etcd can hold. */
export function groupsOf(writes: readonly Write[]): Result<Write[][], string> {
  const groups: Write[][] = [[]];
  let bytes = 0;
  let total = 0;
  for (const write of writes) {
    const size = sizeOf(write);
    total += size;
    if (size > RECORD_BYTES_MAX)
      return err(`the record ${write[0]} is larger than ${RECORD_BYTES_MAX} bytes, more than etcd takes at once`);
    if (total > COMMIT_BYTES_MAX) return err(`a commit of more than ${COMMIT_BYTES_MAX} bytes is too large`);
    let group = groups.at(-1) ?? [];
    if (group.length >= GROUP.writesMax || bytes + size > GROUP.bytesMax) {
      group = [];
      groups.push(group);
      bytes = 0;
    }
    group.push(write);
    bytes += size;
  }
  return ok(groups);
}

/** Pieces of a staged commit, each a value by itself: limited by bytes alone. JSON escapes make texts longer. */
export function piecesOf(writes: readonly Write[]): string[] {
  const pieces: string[] = [];
  let piece: string[] = [];
  let bytes = 0;
  for (const write of writes) {
    const text = JSON.stringify(write);
    const size = Buffer.byteLength(text) + 1;
    if (piece.length > 0 && bytes + size > GROUP.bytesMax) {
      pieces.push(`[${piece.join(",")}]`);
      piece = [];
      bytes = 0;
    }
    piece.push(text);
    bytes += size;
  }
  pieces.push(`[${piece.join(",")}]`);
  return pieces;
}

export function operationsOf(layout: EtcdLayout, writes: readonly Write[]): EtcdOperation[] {
  return writes.map(([key, text]) =>
    text === null
      ? { kind: "delete", key: layout.records + key }
      : { kind: "put", key: layout.records + key, value: text },
  );
}

function sizeOf([key, text]: Write): number {
  return Buffer.byteLength(key) + (text === null ? 0 : Buffer.byteLength(text)) + FRAME_BYTES;
}
