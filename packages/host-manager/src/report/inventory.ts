import { digestOf, type HostVm, type InventoryPage, type InventoryQuery } from "@muster/protocol";
import { type AttemptRecord, type HostState, hostVmOf } from "../core/state.ts";

/** Digest of the whole list: of the entries as managers hear them, sorted by VM id. */
export function inventoryDigest(records: Iterable<AttemptRecord>): string {
  return digestOf(sorted(records));
}

/** The page after `query.after`, in order of VM id. */
export function inventoryPage(
  state: Pick<HostState, "bootId" | "head" | "attempts">,
  query: InventoryQuery,
): InventoryPage {
  const { after } = query;
  const all = sorted(state.attempts.values());
  const rest = after === undefined ? all : all.filter((entry) => entry.vm > after);
  const vms = rest.slice(0, query.max);
  return {
    bootId: state.bootId,
    revision: state.head.revision,
    digest: state.head.digest,
    complete: vms.length === rest.length,
    vms,
  };
}

function sorted(records: Iterable<AttemptRecord>): HostVm[] {
  return Array.from(records, hostVmOf).sort((left, right) => (left.vm < right.vm ? -1 : left.vm > right.vm ? 1 : 0));
}
