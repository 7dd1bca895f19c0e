import { type Refusal, refusal } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";

/** What keeps a VM on its host: it lies on that host's disk, and is the user's to give up. */
export function whyBound({ name, place, volumes = [], snapshots = [] }: VmRecord): Refusal | undefined {
  const host = place.kind === "host" ? place.host : "its host";
  if (volumes.length > 0)
    return refusal("not-acceptable", "has-volumes", `${name} has volumes, which lie on ${host}: delete them first`);
  if (snapshots.length > 0)
    return refusal("not-acceptable", "has-snapshots", `${name} has snapshots, which lie on ${host}: delete them first`);
  return undefined;
}

/** Whether it waits for a host that was declared dead, with its disk, rather than start anew without it. */
export function keepsToHost(record: VmRecord): boolean {
  const { onHostLoss } = record.spec;
  return onHostLoss === "keep" || (onHostLoss === undefined && (record.volumes ?? []).length > 0);
}
