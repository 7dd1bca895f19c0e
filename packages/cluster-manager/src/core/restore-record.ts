import { decode, describeFaults } from "@muster/base";
import { z } from "zod";
import { CorruptRecordError } from "./record-schema.ts";

/** Stored under one key beside the records: how they came to be there, where they were not written by a leader. */
export const RESTORE_KEY = "restore/last";

export const restoreRecordSchema = z.object({
  /**
   * `writing`: records are being put in place, nobody may lead over them; `pending`: they are there, and not compared with
   * the hosts yet; `settled`: the hosts were heard, and what they said was taken in.
   */
  state: z.enum(["writing", "pending", "settled"]),
  /** What the records are of: a backup, or what was found in place. */
  source: z.enum(["backup", "in-place"]),
  /** Up to when the records tell what happened, and when they were put in place. Wall clock. */
  takenAtMs: z.number(),
  restoredAtMs: z.number(),
  /** No attempt up to this one is given again (H5). */
  attemptFloor: z.int().min(0),
  settledAtMs: z.number().optional(),
});
export type RestoreRecord = z.output<typeof restoreRecordSchema>;

/** Decodes it; throws `CorruptRecordError` where it is damaged, or says that the records are only half there. */
export function readRestoreRecord(value: unknown): RestoreRecord {
  const decoded = decode(restoreRecordSchema, value);
  if (!decoded.ok) throw new CorruptRecordError(RESTORE_KEY, describeFaults(decoded.error));
  if (decoded.value.state === "writing")
    throw new CorruptRecordError(RESTORE_KEY, "a restore was interrupted; run the same muster restore again");
  return decoded.value;
}
