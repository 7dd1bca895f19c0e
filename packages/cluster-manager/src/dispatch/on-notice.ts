/**
 * What becomes of a VM whose lender gave notice, as its user or project chose. `extend`: it runs until the end, and elsewhere
 * from then on, as a new attempt (P1). `save`: it is shut down in order at once, so that it is not cut off in the middle of
 * something, and runs elsewhere after the end. `stop`: it is shut down in order, and ends for good with its lease.
 */
import type { BorrowRecord } from "@muster/broker";
import type { OnNotice } from "@muster/protocol";
import type { SitePolicy } from "../core/core.ts";
import type { VmRecord } from "../core/records.ts";

type Wanted = Exclude<VmRecord["wanted"], "deleted">;

/** What the lender is to be told, notice or no notice; nothing where its user wants it gone. */
export function wantedThere(policy: SitePolicy, record: VmRecord, exchange: BorrowRecord): Wanted | undefined {
  if (record.wanted === "deleted") return undefined;
  return isNoticed(exchange) && choiceOf(policy, record) !== "extend" ? "stopped" : record.wanted;
}

/** Whether the end of the exchange is the end of the VM. */
export function endsForGood(policy: SitePolicy, record: VmRecord, exchange: BorrowRecord): boolean {
  return isNoticed(exchange) && choiceOf(policy, record) === "stop";
}

function choiceOf({ onNotice = {} }: SitePolicy, record: VmRecord): OnNotice {
  const ofProject = Object.hasOwn(onNotice, record.project) ? onNotice[record.project] : undefined;
  return record.onNotice ?? ofProject ?? "extend";
}

function isNoticed({ endedByLender, endsAtMs }: BorrowRecord): boolean {
  return endedByLender === true && endsAtMs !== undefined;
}
