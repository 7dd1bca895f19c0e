import type { BorrowRecord, LendRecord } from "@muster/broker";
import type { WorkingSet } from "../core/working-set.ts";

/** After a load: every end that is to be there, or that may still be, is looked at. */
export function takeUpTunnels(
  { tunnels }: Pick<WorkingSet, "tunnels">,
  borrowed: readonly BorrowRecord[],
  lent: readonly LendRecord[],
): void {
  for (const { id, vm } of tunnels.records.values()) {
    tunnels.noteVm(id, vm);
    tunnels.touch({ kind: "gateway", id });
  }
  for (const { id, vm, stage, tunnel } of borrowed) {
    if (tunnel === undefined || stage === "closed") continue;
    tunnels.noteVm(id, vm);
    tunnels.touch({ kind: "gateway", id });
  }
  for (const { id, peer, stage, tunnel } of lent)
    if (tunnel !== undefined && stage === "leased") tunnels.touch({ kind: "guest", peer, id });
}
