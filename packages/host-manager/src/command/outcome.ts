import type { Command, CommandOutcome, HostVmState } from "@muster/protocol";
import type { AttemptRecord, CommandAnswer } from "../core/state.ts";

/** The answer of a command where there is nothing to tell but the state. */
export function stands(command: Command, state: HostVmState): CommandAnswer {
  const { id, vm, attempt } = command;
  return { kind: "outcome", outcome: { id, vm, attempt, state } };
}

/** The answer of a command about the attempt that the record is of. */
export function standsAs(command: Command, record: AttemptRecord): CommandAnswer {
  const { id, vm, attempt } = command;
  const outcome: CommandOutcome = {
    id,
    vm,
    attempt,
    state: record.state,
    ...(record.address === undefined ? {} : { address: record.address }),
    ...(record.address === undefined || record.access === undefined ? {} : { access: record.access }),
    ...(record.reason === undefined ? {} : { reason: record.reason }),
  };
  return { kind: "outcome", outcome };
}
