/** What a host is to do once with a real guest, beyond starting and stopping it; carried by the command `operate`. */
import { z } from "zod";
import { lineSchema, uuidSchema } from "../ids.ts";
import { vmSpecSchema } from "../vm-spec.ts";
import { type Fields, flag, integer, line, text } from "../xml/field.ts";

/** Name of a snapshot or a volume: it becomes part of a file name and of libvirt's XML. */
export const partNameSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?$/, "must be 1 to 32 lower-case letters, digits, dots or dashes");

/** Most snapshots of one VM, and most volumes (S2). */
export const SNAPSHOTS_MAX = 16;
export const VOLUMES_MAX = 8;

export const volumeSizeSchema = vmSpecSchema.shape.diskGiB;

/** Sizes that change; the rest stays. */
export const newSizeShape = {
  vcpus: vmSpecSchema.shape.vcpus.optional(),
  memoryMiB: vmSpecSchema.shape.memoryMiB.optional(),
  diskGiB: vmSpecSchema.shape.diskGiB.optional(),
};

/**
 * - `save`: write the memory to disk and stop; the next start goes on from there.
 * - `create-snapshot`, `revert-snapshot`, `delete-snapshot`: of the disks, and of the memory where it runs.
 * - `attach-volume`: a disk beside the first one, made where it is not there yet; `detach-volume` with `discard` removes it.
 * - `resize`: of a stopped VM; its disk only grows.
 */
export const hostOperationSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("save") }),
  z.object({ kind: z.literal("create-snapshot"), name: partNameSchema }),
  z.object({ kind: z.literal("revert-snapshot"), name: partNameSchema }),
  z.object({ kind: z.literal("delete-snapshot"), name: partNameSchema }),
  z.object({ kind: z.literal("attach-volume"), name: partNameSchema, sizeGiB: volumeSizeSchema }),
  z.object({ kind: z.literal("detach-volume"), name: partNameSchema, discard: z.boolean() }),
  z.object({ kind: z.literal("resize"), ...newSizeShape }),
]);
export type HostOperation = z.output<typeof hostOperationSchema>;

type OperationParts = {
  readonly kind: string;
  readonly name?: string | undefined;
  readonly sizeGiB?: number | undefined;
  readonly discard?: boolean | undefined;
  readonly vcpus?: number | undefined;
  readonly memoryMiB?: number | undefined;
  readonly diskGiB?: number | undefined;
};

export const operationFields: Fields<OperationParts> = {
  kind: text,
  name: text,
  sizeGiB: integer,
  discard: flag,
  vcpus: integer,
  memoryMiB: integer,
  diskGiB: integer,
};

/** How the last operation of an attempt ended, by the id of its command; told until the leader has stored it. */
export const operationResultSchema = z.object({
  id: uuidSchema,
  result: z.enum(["done", "refused"]),
  reason: lineSchema.optional(),
});
export type OperationResult = z.output<typeof operationResultSchema>;

export const operationResultFields: Fields<OperationResult> = { id: text, result: text, reason: line };
