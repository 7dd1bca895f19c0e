/** How operations end: by the host's word, by its refusal, or with the VM. */
import type { HostVm, Refusal } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { type OperationRecord, pendingOperation } from "./operation-record.ts";
import { roomOf } from "./taken-room.ts";

type Patch = Parameters<typeof changeVm>[2];

/** Takes what the VM's host says of the pending operation; says nothing of an earlier one. */
export function takeResult(round: Round, entry: VmEntry, host: string, reported: HostVm): void {
  const pending = pendingOperation(entry.record);
  const said = reported.operation;
  if (pending === undefined || said?.id !== pending.id) return;
  // It is no order any more that the host is at.
  round.set.hosts.get(host)?.taken.delete(entry.record.id);
  if (said.result === "refused") {
    refuse(round, entry, pending, `${host}: ${said.reason ?? "it was refused"}`);
    return;
  }
  end(round, entry, pending, { state: "done" }, madeBy(round, entry.record, pending.operation, reported.state));
}

/** The host did not take the order: it has not touched the VM. */
export function operationRefused(round: Round, host: HostEntry, id: string, vm: string, refused: Refusal): void {
  const entry = round.set.vms.get(vm);
  const pending = entry === undefined ? undefined : pendingOperation(entry.record);
  if (entry === undefined || pending?.id !== id) return;
  refuse(round, entry, pending, `${host.name}: ${refused.message}`);
}

/** There is nothing left to operate on, or soon will be. */
export function giveUpOperation(round: Round, entry: VmEntry, reason: string): void {
  const pending = pendingOperation(entry.record);
  if (pending !== undefined) refuse(round, entry, pending, reason);
}

/** What goes with a guest that is gone from its host: nothing of it is on any disk any more. */
export const WITHOUT_GUEST = { snapshots: undefined, volumes: undefined, saved: undefined } as const;

function refuse(round: Round, entry: VmEntry, pending: OperationRecord, reason: string): void {
  end(round, entry, pending, { state: "refused", reason: reason.slice(0, 500) }, {});
}

function end(
  round: Round,
  entry: VmEntry,
  pending: OperationRecord,
  how: Pick<OperationRecord, "state" | "reason">,
  patch: Patch,
): void {
  const { record } = entry;
  if (record.place.kind === "host") round.set.hosts.get(record.place.host)?.unhold(roomOf(pending));
  const ended = { ...pending, ...how, atMs: round.turn.nowMs };
  changeVm(round, entry, { ...patch, operations: [...(record.operations ?? []).slice(0, -1), ended] });
  // What was kept for it may be free again.
  round.set.wake();
  const what =
    "name" in pending.operation ? `${pending.operation.kind} ${pending.operation.name}` : pending.operation.kind;
  const came = how.state === "done" ? "is done" : `was refused: ${how.reason}`;
  round.turn.event("vm", record.id, `${record.name}: ${what} ${came}`.slice(0, 500));
}

/** What the record says from then on. */
function madeBy(
  round: Round,
  record: VmRecord,
  operation: OperationRecord["operation"],
  state: HostVm["state"],
): Patch {
  const { snapshots = [], volumes = [], spec } = record;
  const settled = state === "running" || state === "paused" ? state : "stopped";
  switch (operation.kind) {
    case "save":
      return { wanted: "stopped", saved: true };
    case "create-snapshot":
      return {
        snapshots: [...snapshots, { name: operation.name, state: settled, createdAtMs: round.turn.nowMs }],
      };
    case "revert-snapshot":
      // It goes on as it was then, and is not to be brought back to what was wanted before.
      return { wanted: settled };
    case "delete-snapshot":
      return { snapshots: snapshots.filter(({ name }) => name !== operation.name) };
    case "create-volume":
      return { volumes: [...volumes, { name: operation.name, sizeGiB: operation.sizeGiB, attached: true }] };
    case "attach-volume":
    case "detach-volume": {
      const attached = operation.kind === "attach-volume";
      return { volumes: volumes.map((one) => (one.name === operation.name ? { ...one, attached } : one)) };
    }
    case "delete-volume":
      return { volumes: volumes.filter(({ name }) => name !== operation.name) };
    case "resize":
      return {
        spec: {
          ...spec,
          vcpus: operation.vcpus ?? spec.vcpus,
          memoryMiB: operation.memoryMiB ?? spec.memoryMiB,
          diskGiB: operation.diskGiB ?? spec.diskGiB,
        },
      };
  }
}
