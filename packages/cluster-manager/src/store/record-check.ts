import { decodeRecord } from "../core/record-schema.ts";
import { RESTORE_KEY, readRestoreRecord } from "../core/restore-record.ts";

/** Decodes a stored record for its fault alone; kinds that are not the core's are kept as they are. Throws `CorruptRecordError`. */
export function decodeStored(key: string, value: unknown): void {
  if (key === RESTORE_KEY) readRestoreRecord(value);
  else decodeRecord(key, value);
}
