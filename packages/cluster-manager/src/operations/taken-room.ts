import { NO_RESOURCES, type Resources, resourcesOf } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { OperationRecord } from "./operation-record.ts";

/** What a VM takes of its host and of its project's quota: its size and its volumes. */
export function takenBy({ spec, volumes = [] }: Pick<VmRecord, "spec" | "volumes">): Resources {
  const size = resourcesOf(spec);
  return { ...size, diskGiB: volumes.reduce((sum, { sizeGiB }) => sum + sizeGiB, size.diskGiB) };
}

/** What an operation takes on top of that, once it is done. */
export function addedBy({ spec }: Pick<VmRecord, "spec">, operation: OperationRecord["operation"]): Resources {
  if (operation.kind === "create-volume") return { ...NO_RESOURCES, diskGiB: operation.sizeGiB };
  if (operation.kind !== "resize") return NO_RESOURCES;
  return {
    vcpus: Math.max(0, (operation.vcpus ?? 0) - spec.vcpus),
    memoryMiB: Math.max(0, (operation.memoryMiB ?? 0) - spec.memoryMiB),
    diskGiB: Math.max(0, (operation.diskGiB ?? 0) - spec.diskGiB),
    gpus: 0,
  };
}

/** Under which name that room is kept at the host while the operation is under way (P2). */
export function roomOf({ id }: Pick<OperationRecord, "id">): string {
  return `operation/${id}`;
}
