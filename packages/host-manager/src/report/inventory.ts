import { digestOf, type HostVm, type InventoryPage, type InventoryQuery, type ListedVm } from "@muster/protocol";
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
  const vms =
    query.subjects === true ? withSubjects(rest.slice(0, query.max), state.attempts) : rest.slice(0, query.max);
  return {
    bootId: state.bootId,
    revision: state.head.revision,
    digest: state.head.digest,
    complete: vms.length === rest.length,
    vms,
  };
}

/** Text of what is said of VMs on one page: leaves room for the rest within a stanza of 64 KiB. */
const SUBJECTS_LENGTH_MAX = 32 * 1024;

/** As many as fit a page with what each of them is, at least one. */
function withSubjects(vms: readonly HostVm[], attempts: HostState["attempts"]): ListedVm[] {
  const listed: ListedVm[] = [];
  let length = 0;
  for (const vm of vms) {
    const subject = attempts.get(vm.vm)?.subject;
    length += JSON.stringify(subject ?? "").length;
    if (listed.length > 0 && length > SUBJECTS_LENGTH_MAX) break;
    listed.push(subject === undefined ? vm : { ...vm, subject });
  }
  return listed;
}

function sorted(records: Iterable<AttemptRecord>): HostVm[] {
  return Array.from(records, hostVmOf).sort((left, right) => (left.vm < right.vm ? -1 : left.vm > right.vm ? 1 : 0));
}
