/** What a user asks once of a VM: saving, snapshots, volumes, another size. */
import { z } from "zod";
import { newSizeShape, partNameSchema, volumeSizeSchema } from "../host/operation.ts";

/** Body of `POST /v1/vms/{id}/operations`. The same `Idempotency-Key` with the same body is the same operation. */
export const vmOperationSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("save") }),
  z.strictObject({ kind: z.literal("create-snapshot"), name: partNameSchema }),
  z.strictObject({ kind: z.literal("revert-snapshot"), name: partNameSchema }),
  z.strictObject({ kind: z.literal("delete-snapshot"), name: partNameSchema }),
  z.strictObject({ kind: z.literal("create-volume"), name: partNameSchema, sizeGiB: volumeSizeSchema }),
  z.strictObject({ kind: z.literal("attach-volume"), name: partNameSchema }),
  z.strictObject({ kind: z.literal("detach-volume"), name: partNameSchema }),
  z.strictObject({ kind: z.literal("delete-volume"), name: partNameSchema }),
  z
    .strictObject({ kind: z.literal("resize"), ...newSizeShape })
    .refine(
      ({ vcpus, memoryMiB, diskGiB }) => vcpus !== undefined || memoryMiB !== undefined || diskGiB !== undefined,
      "say what is to change: vcpus, memoryMiB or diskGiB",
    ),
]);
export type VmOperation = z.output<typeof vmOperationSchema>;

/** The last operation of a VM: what was asked, and what its host made of it. */
export const operationViewSchema = z.object({
  id: z.string(),
  operation: vmOperationSchema,
  state: z.enum(["pending", "done", "refused"]),
  /** Why it was refused. */
  reason: z.string().optional(),
  at: z.iso.datetime(),
});
export type OperationView = z.output<typeof operationViewSchema>;

export const snapshotViewSchema = z.object({
  name: z.string(),
  /** How the VM was; `running` with its memory. */
  state: z.enum(["running", "paused", "stopped"]),
  createdAt: z.iso.datetime(),
});
export type SnapshotView = z.output<typeof snapshotViewSchema>;

export const volumeViewSchema = z.object({ name: z.string(), sizeGiB: z.int(), attached: z.boolean() });
export type VolumeView = z.output<typeof volumeViewSchema>;
