import { CorruptRecordError, decodeRecord } from "../core/record-schema.ts";
import { RESTORE_KEY, readRestoreRecord } from "../core/restore-record.ts";

/** Decodes a stored record for its fault alone; kinds that are not the core's are kept as they are. Throws `CorruptRecordError`. */
export function decodeStored(key: string, value: unknown): void {
  if (key === RESTORE_KEY) readRestoreRecord(value);
  else decodeRecord(key, value);
}

/** Why a stored text is no record of what its key says; nothing where it is one. */
export function recordFault(key: string, text: string): string | undefined {
  try {
    decodeStored(key, JSON.parse(text));
    return undefined;
  } catch (cause) {
    return cause instanceof CorruptRecordError ? cause.message : "it is no JSON";
  }
}
