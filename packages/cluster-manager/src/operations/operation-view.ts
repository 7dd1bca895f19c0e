import { isFinal, type VmView } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";

type Parts = Pick<VmView, "operation" | "snapshots" | "volumes">;

/** What a VM's view says of its operations, and of what they made as long as the VM is. */
export function operationParts({ operations, snapshots = [], volumes = [], phase }: VmRecord): Parts {
  const last = operations?.at(-1);
  return {
    ...(last === undefined
      ? {}
      : {
          operation: {
            id: last.id,
            operation: last.operation,
            state: last.state,
            ...(last.reason === undefined ? {} : { reason: last.reason }),
            at: isoOf(last.atMs),
          },
        }),
    ...(isFinal(phase) || snapshots.length === 0
      ? {}
      : {
          snapshots: snapshots.map(({ name, state, createdAtMs }) => ({ name, state, createdAt: isoOf(createdAtMs) })),
        }),
    ...(isFinal(phase) || volumes.length === 0 ? {} : { volumes: volumes.map((volume) => ({ ...volume })) }),
  };
}

function isoOf(atMs: number): string {
  return new Date(atMs).toISOString();
}
