import { type Command, type HostOperation, lacking, RESOURCE_WORDS, type Refusal, refusal } from "@muster/protocol";
import { type AttemptRecord, type CommandAnswer, isLive } from "../core/state.ts";
import type { Turn } from "../core/turn.ts";
import { freeNow } from "./admission.ts";
import { unknownVm } from "./order.ts";
import { standsAs } from "./outcome.ts";

/** Takes an operation on a VM that stands here: stored with its id, so that it has one effect and one result (H2). */
export function operate(turn: Turn, command: Command): CommandAnswer {
  const { operation } = command;
  if (operation === undefined) return refused(refusal("bad-request", "invalid", "an operation must be named"));
  const record = turn.attempts.get(command.vm);
  if (record === undefined || record.attempt !== command.attempt) return unknownVm(command, record);
  // Its answer may be forgotten by now; its result is not.
  if (record.operation?.id === command.id || record.intent?.command === command.id) return standsAs(command, record);
  const obstacle = whyNot(turn, record, operation);
  if (obstacle !== undefined) return refused(obstacle);
  turn.put({ ...record, intent: { action: "operate", command: command.id, operation } });
  turn.waiting.set(record.vm, true);
  return standsAs(command, record);
}

/** Ends the guest at once; one that is being asked to stop is not waited for. */
export function cutOff(turn: Turn, command: Command): CommandAnswer {
  const record = turn.attempts.get(command.vm);
  if (record === undefined || record.attempt !== command.attempt) return unknownVm(command, record);
  if (record.intent?.action === "delete") return refused(BEING_DELETED);
  if (!isLive(record) || (record.state === "stopped" && record.intent === undefined)) return standsAs(command, record);
  turn.put({ ...record, intent: { action: "operate", command: command.id, operation: { kind: "cut-off" } } });
  if (turn.jobs.get(record.vm)?.action === "stop") turn.effects.push({ kind: "hurry", vm: record.vm });
  turn.waiting.set(record.vm, true);
  return standsAs(command, record);
}

function whyNot(turn: Turn, record: AttemptRecord, operation: HostOperation): Refusal | undefined {
  if (record.intent?.action === "delete") return BEING_DELETED;
  if (!isLive(record)) return refusal("conflict", "wrong-state", `the VM is ${record.state} on this host`);
  if (record.state === "starting")
    return refusal("unavailable", "starting", "the VM is being started; try again when it runs", {
      retryAfterMs: 1_000,
    });
  if (record.intent !== undefined)
    return refusal("unavailable", "busy", "another order for the VM is under way; try again", { retryAfterMs: 1_000 });
  return operation.kind === "resize" ? refuseSize(turn, record, operation) : undefined;
}

/** H4: the host has the last word on what it can take. */
function refuseSize(
  turn: Turn,
  { state, subject }: AttemptRecord,
  size: HostOperation & { kind: "resize" },
): Refusal | undefined {
  if (state !== "stopped" || subject === undefined)
    return refusal("conflict", "wrong-state", "stop the VM first: it is resized while it is stopped");
  if (turn.hypervisor.kind !== "ready")
    return refusal("unavailable", "hypervisor-unavailable", "the hypervisor of this host does not answer now", {
      retryAfterMs: turn.policy.surveyMs,
    });
  const free = freeNow(turn);
  const { vcpus, memoryMiB, diskGiB } = subject.spec;
  const more = {
    vcpus: Math.max(0, (size.vcpus ?? vcpus) - vcpus),
    memoryMiB: Math.max(0, (size.memoryMiB ?? memoryMiB) - memoryMiB),
    diskGiB: Math.max(0, (size.diskGiB ?? diskGiB) - diskGiB),
    gpus: 0,
  };
  const kind = lacking(free, more);
  if (kind === undefined) return undefined;
  return refusal(
    "resource-constraint",
    "no-capacity",
    `it has ${free[kind]} ${RESOURCE_WORDS[kind]} free, ${more[kind]} more are needed`,
  );
}

const BEING_DELETED = refusal("conflict", "being-deleted", "this VM is being deleted and takes no other order");

function refused(because: Refusal): CommandAnswer {
  return { kind: "refused", refusal: because };
}
