/** A user's wish for VMs: admitted, stored, answered; the queue is drained at the end of the same step. */
import { refusal } from "@muster/protocol";
import { chooseGuest, reservedFor } from "../images/guest-choice.ts";
import { refuseActor, refuseRequest, requestDigest, vmNames } from "./admission.ts";
import type { CoreEvent } from "./event.ts";
import type { RequestRecord, VmRecord } from "./records.ts";
import { isAdoptedFrom } from "./restored.ts";
import { addVm, type Round } from "./round.ts";

type Request = Extract<CoreEvent, { kind: "request" }>;

export function takeRequest(round: Round, event: Request): void {
  const { set, turn } = round;
  const { ticket, actor, requestId, create } = event;
  const forbidden = refuseActor(actor, create.project);
  if (forbidden !== undefined) {
    turn.answer(ticket, { kind: "refused", refusal: forbidden });
    return;
  }
  const digest = requestDigest(actor, create);
  const known = set.requests.get(requestId);
  if (known !== undefined) {
    // B1: the same request again is the same answer, whatever has become of it since.
    if (known.digest === digest || isAdoptedFrom(known, actor.user, create.project))
      turn.answer(ticket, { kind: "request", requestId, vms: known.vms, replay: true });
    else
      turn.answer(ticket, {
        kind: "refused",
        refusal: refusal(
          "conflict",
          "request-id-taken",
          `the request id ${requestId} stands for another request: choose a new id`,
          { field: "Idempotency-Key" },
        ),
      });
    return;
  }
  const refused = refuseRequest(round, create);
  if (refused !== undefined) {
    turn.answer(ticket, { kind: "refused", refusal: refused });
    return;
  }
  const names = vmNames(create);
  // Ids of one millisecond are in no order: sorted, a list by id shows the VMs of a request in the order of their names.
  const ids = names.map(() => turn.newId()).sort();
  const vms = names.map((name, index) => addVm(round, newVm(round, event, name, ids[index] ?? turn.newId())).record.id);
  const record: RequestRecord = {
    id: requestId,
    digest,
    user: actor.user,
    project: create.project,
    vms,
    acceptedAtMs: turn.nowMs,
  };
  set.requests.set(requestId, record);
  turn.put(`request/${requestId}`, record);
  turn.answer(ticket, { kind: "request", requestId, vms, replay: false });
}

function newVm(round: Round, { actor, requestId, create }: Request, name: string, id: string): VmRecord {
  const { nowMs } = round.turn;
  return {
    id,
    name,
    request: requestId,
    project: create.project,
    user: actor.user,
    spec: create.spec,
    priority: create.priority,
    burst: create.burst,
    leaseMs: create.leaseMs,
    ...(create.maxPricePerHour === undefined ? {} : { maxPricePerHour: create.maxPricePerHour }),
    ...(create.onNotice === undefined ? {} : { onNotice: create.onNotice }),
    origin: { kind: "local" },
    phase: "queued",
    wanted: "running",
    place: { kind: "none" },
    attempt: 0,
    queueOrder: round.set.nextOrder(),
    createdAtMs: nowMs,
    changedAtMs: nowMs,
    ...reservedFor(round.set, chooseGuest(round.set, round.policy, create.spec, create.project), id, nowMs),
    ...(create.expiresAfterMs === undefined ? {} : { expiresAtMs: nowMs + create.expiresAfterMs }),
  };
}
