/** What is stored with a VM's record of its operations, and of what they made: any leader carries on with it (L3). */
import { partNameSchema, vmOperationSchema } from "@muster/protocol";
import { z } from "zod";

/** Operations remembered with a VM, so that a repeated request is told from a new one (B1, S2). */
export const OPERATIONS_KEPT = 8;

/**
 *   pending ── the host did it ─▶ done
 *      └────── the host, or the end of the VM, says no ─▶ refused
 *
 * The last one alone may be pending.
 */
export const operationRecordSchema = z.object({
  /** Id of the command, the same for every sending by every leader (H2). */
  id: z.string(),
  /** Chosen by the user: the same key is the same operation (B1). */
  key: z.string(),
  operation: vmOperationSchema,
  state: z.enum(["pending", "done", "refused"]),
  reason: z.string().optional(),
  atMs: z.number(),
});
export type OperationRecord = z.output<typeof operationRecordSchema>;

export const snapshotRecordSchema = z.object({
  name: partNameSchema,
  state: z.enum(["running", "paused", "stopped"]),
  createdAtMs: z.number(),
});
export type SnapshotRecord = z.output<typeof snapshotRecordSchema>;

/** A disk beside the first one. It lies in the VM's folder on its host, from its making to its end. */
export const volumeRecordSchema = z.object({ name: partNameSchema, sizeGiB: z.int(), attached: z.boolean() });
export type VolumeRecord = z.output<typeof volumeRecordSchema>;

type Operated = { readonly operations?: readonly OperationRecord[] | undefined };

/** The operation under way: at most one a VM. */
export function pendingOperation({ operations }: Operated): OperationRecord | undefined {
  const last = operations?.at(-1);
  return last?.state === "pending" ? last : undefined;
}
