import type { HostOperation } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { OperationRecord } from "./operation-record.ts";

/** What the host is told: follows from the record alone, so that every sending says the same (H2). */
export function hostOperation(
  { volumes = [] }: Pick<VmRecord, "volumes">,
  { operation }: OperationRecord,
): HostOperation {
  switch (operation.kind) {
    case "create-volume":
      return { kind: "attach-volume", name: operation.name, sizeGiB: operation.sizeGiB };
    case "attach-volume": {
      const sizeGiB = volumes.find(({ name }) => name === operation.name)?.sizeGiB ?? 1;
      return { kind: "attach-volume", name: operation.name, sizeGiB };
    }
    case "detach-volume":
      return { kind: "detach-volume", name: operation.name, discard: false };
    case "delete-volume":
      return { kind: "detach-volume", name: operation.name, discard: true };
    default:
      return operation;
  }
}
