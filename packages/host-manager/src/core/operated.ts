import type { CommandSubject } from "@muster/protocol";
import type { ActOutcome } from "../hypervisor/port.ts";
import type { AttemptRecord, Job } from "./state.ts";
import type { Turn } from "./turn.ts";

/** Why a VM is stopped whose memory was written to disk. */
const SAVED = "saved";

/**
 * An operation came back from the hypervisor: what it made of the VM, and that it ended, are told in one notice, so that
 * nobody takes a VM that was saved for one that stopped by itself.
 */
export function operated(
  turn: Turn,
  record: AttemptRecord,
  job: Job,
  outcome: Exclude<ActOutcome, { kind: "unknown" }>,
): void {
  const { operation, command: id } = job;
  if (outcome.kind === "refused") {
    turn.log("warn", `the hypervisor refused to ${operation?.kind} it: ${outcome.reason}`, record.vm);
    turn.putAndTell(
      operation?.kind === "cut-off"
        ? { ...record, reason: `cannot cut it off: ${outcome.reason}` }
        : { ...record, operation: { id, result: "refused", reason: outcome.reason } },
    );
    return;
  }
  const { reason, address: _address, access: _access, tries: _tries, subject, ...rest } = record;
  const { state, address, access } = outcome.domain ?? record;
  const why = operation?.kind === "save" ? SAVED : state === record.state ? reason : undefined;
  turn.putAndTell({
    ...rest,
    state,
    ...(address === undefined ? {} : { address }),
    ...(access === undefined ? {} : { access }),
    ...(why === undefined ? {} : { reason: why }),
    ...(subject === undefined ? {} : { subject: resized(subject, job) }),
    ...(operation?.kind === "cut-off" ? {} : { operation: { id, result: "done" } }),
  });
}

/** What the VM is from now on, for the host's own count of what it promised (P2). */
function resized(subject: CommandSubject, { operation }: Job): CommandSubject {
  if (operation?.kind !== "resize") return subject;
  const { vcpus, memoryMiB, diskGiB } = subject.spec;
  const { spec } = subject;
  return {
    ...subject,
    spec: {
      ...spec,
      vcpus: operation.vcpus ?? vcpus,
      memoryMiB: operation.memoryMiB ?? memoryMiB,
      diskGiB: operation.diskGiB ?? diskGiB,
    },
  };
}
