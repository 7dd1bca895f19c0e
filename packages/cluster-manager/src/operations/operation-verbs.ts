/**
 * What users ask once of a VM. It is stored as the VM's pending operation and answered; the order goes out under the id that
 * is stored with it, by whichever leader, until the host says how it ended (H2, L3).
 */
import { digestOf, type Refusal, refusal, type VmOperation } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import type { VmRecord } from "../core/records.ts";
import { changeVm, type Round } from "../core/round.ts";
import { attendPlace, findForActor } from "../core/vm-verbs.ts";
import type { VmEntry, WorkingSet } from "../core/working-set.ts";
import { OPERATIONS_KEPT, pendingOperation } from "./operation-record.ts";
import { refuseOperation } from "./operation-rules.ts";
import { addedBy, roomOf } from "./taken-room.ts";

export function takeVmOperation(round: Round, event: Extract<CoreEvent, { kind: "vm-operation" }>): void {
  const { turn } = round;
  const found = findForActor(round, event.actor, event.vm);
  const refused = "kind" in found ? found : take(round, found, event.key, event.operation);
  if (refused !== undefined) turn.answer(event.ticket, { kind: "refused", refusal: refused });
  else if (!("kind" in found)) turn.answer(event.ticket, { kind: "vm", vm: found.record.id });
}

function take(round: Round, entry: VmEntry, key: string, operation: VmOperation): Refusal | undefined {
  const { record } = entry;
  const known = record.operations?.find((one) => one.key === key);
  if (known !== undefined)
    return digestOf(known.operation) === digestOf(operation)
      ? undefined
      : refusal("conflict", "key-taken", "this Idempotency-Key was another operation before: use a new one", {
          field: "Idempotency-Key",
        });
  const refused = refuseOperation(round, record, operation);
  if (refused !== undefined) return refused;
  const pending = { id: round.turn.newId(), key, operation, state: "pending", atMs: round.turn.nowMs } as const;
  changeVm(round, entry, { operations: [...(record.operations ?? []), pending].slice(-OPERATIONS_KEPT) });
  keepRoom(round.set, entry.record);
  attendPlace(round, entry);
  return undefined;
}

/** The room that its pending operation is going to take, at its host; also after a start of ours (P2). */
export function keepRoom(set: WorkingSet, record: VmRecord): void {
  const pending = pendingOperation(record);
  if (pending === undefined || record.place.kind !== "host") return;
  const added = addedBy(record, pending.operation);
  set.hosts.get(record.place.host)?.hold(roomOf(pending), { ...record.spec, ...added });
}
