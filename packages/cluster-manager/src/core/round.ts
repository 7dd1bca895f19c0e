/** What the parts of one step share, and the two ways in which they change records. */
import type { Borrower, Ledger, Lender } from "@muster/broker";
import { isFinal } from "@muster/protocol";
import type { HostEntry } from "../inventory/host-entry.ts";
import type { Weights } from "../scheduler/scores.ts";
import type { SitePolicy } from "./core.ts";
import type { HostRecord, VmRecord } from "./records.ts";
import type { Turn } from "./turn.ts";
import type { VmEntry, WorkingSet } from "./working-set.ts";

export type Round = {
  readonly set: WorkingSet;
  readonly turn: Turn;
  readonly policy: SitePolicy;
  readonly weights: Weights;
  readonly lender: Lender;
  readonly borrower: Borrower;
  readonly ledger?: Ledger | undefined;
  /** How the last VMs came to their places, for `why`. */
  readonly decisions: Map<string, string>;
  readonly imageUrl?: ImageUrl | undefined;
};

/** The address of an image's content with a ticket that ends a while after `nowMs`. */
export type ImageUrl = (digest: string, nowMs: number) => string;

type VmPatch = Partial<Omit<VmRecord, "id" | "name" | "origin" | "queueOrder" | "priority">>;

/** Changes a VM's record: stored, counted, and told to everyone who watches it. Nothing happens where nothing differs. */
export function changeVm(round: Round, entry: VmEntry, patch: VmPatch): void {
  const { set, turn } = round;
  const before = entry.record;
  if (sameIn(before, patch)) return;
  // What stands in for a reason goes with it.
  const other = "reason" in patch && before.heldBack === true ? { heldBack: undefined } : {};
  const after: VmRecord = { ...before, ...other, ...patch, changedAtMs: turn.nowMs };
  set.putVm(after);
  turn.put(`vm/${after.id}`, after);
  tellHostsOf(round, before, after);
  if (freed(before, after)) set.wake();
  turn.contact("vm", after.id);
  if (after.origin.kind === "peer") set.lentChanged.add(after.id);
  if (before.phase !== after.phase) turn.event("vm", after.id, phaseLine(after));
}

/** A new VM's record. */
export function addVm(round: Round, record: VmRecord): VmEntry {
  const entry = round.set.putVm(record);
  if (!round.set.reconciled && record.origin.kind === "local") round.set.arrivals.add(record.id);
  round.turn.put(`vm/${record.id}`, record);
  round.turn.contact("vm", record.id);
  if (record.origin.kind === "peer") round.set.lentChanged.add(record.id);
  round.turn.event("vm", record.id, phaseLine(record));
  return entry;
}

export function changeHost(round: Round, host: HostEntry, patch: Partial<Omit<HostRecord, "name">>): void {
  const record = { ...host.record, ...patch };
  round.set.putHost(record);
  round.turn.put(`host/${record.name}`, record);
}

function sameIn(record: VmRecord, patch: VmPatch): boolean {
  const now: Readonly<Record<string, unknown>> = record;
  return Object.entries(patch).every(([key, value]) => {
    const had = now[key];
    if (Object.is(had, value)) return true;
    if (key !== "place") return false;
    return JSON.stringify(had) === JSON.stringify(value);
  });
}

function tellHostsOf(round: Round, before: VmRecord, after: VmRecord): void {
  for (const { place } of [before, after]) if (place.kind === "host") round.turn.contact("host", place.host);
}

/** Whether its room at a host came free. */
function freed(before: VmRecord, after: VmRecord): boolean {
  if (before.place.kind !== "host" || isFinal(before.phase)) return false;
  return isFinal(after.phase) || after.place.kind !== "host" || after.place.host !== before.place.host;
}

/** What became of the VM, in one line. */
function phaseLine(record: VmRecord): string {
  const where =
    record.place.kind === "host"
      ? ` on ${record.place.host}`
      : record.place.kind === "peer"
        ? ` at ${record.place.peer}`
        : "";
  const why = record.reason === undefined ? "" : `: ${record.reason}`;
  return `${record.name} is ${record.phase}${isFinal(record.phase) ? "" : where}${why}`.slice(0, 500);
}
