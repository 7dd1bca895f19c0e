/** What hosts answer to the steps of a move, and what follows from it. */
import { assertNever } from "@muster/base";
import type { MoveState, MoveStep, Refusal } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import { pauseMs } from "../core/limits.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { noteReport } from "../inventory/reports.ts";
import { stepAnswered } from "./between-sites.ts";
import { driveMove } from "./drive.ts";
import { takeLentAnswer } from "./lent-moves.ts";
import { endMove, enter, giveUp, handOver } from "./move-end.ts";
import type { MoveRecord } from "./move-record.ts";
import type { MoveTalk } from "./move-talk.ts";

export function takeMoveAnswer(round: Round, event: Extract<CoreEvent, { kind: "move-answered" }>): void {
  if (takeLentAnswer(round, event)) return;
  const { vm, step, id, end } = event;
  const entry = round.set.vms.get(vm);
  const talk = round.set.moves.get(vm);
  if (entry === undefined || talk?.call?.step !== step || talk.call.host !== event.host) return;
  talk.call = undefined;
  const current = entry.record.move?.id ?? entry.record.leftover?.id;
  if (current === id) take(round, entry, talk, step, end);
  driveMove(round, entry);
}

/** A peer's answer to a step of a move; `false` where it is about something else. */
export function takeStepAnswer(round: Round, event: Extract<CoreEvent, { kind: "peer-answer" }>): boolean {
  const answered = stepAnswered(event);
  if (answered !== undefined) takeMoveAnswer(round, answered);
  return answered !== undefined;
}

type End = Extract<CoreEvent, { kind: "move-answered" }>["end"];

function take(round: Round, entry: VmEntry, talk: MoveTalk, step: MoveStep, end: End): void {
  const { move } = entry.record;
  if (end.kind === "unknown") later(round, talk);
  else if (move === undefined) takeLeftover(round, entry, talk, end);
  else if (end.kind === "refused") takeRefusal(round, entry, talk, move, step, end.refusal);
  else {
    talk.tries = 0;
    talk.retryAtMs = 0;
    if (end.state.stage === "underway") takeProgress(round, entry, talk, end.state);
    else takeState(round, entry, talk, move, step, end.state);
  }
}

function takeProgress(round: Round, entry: VmEntry, talk: MoveTalk, { doneMiB, totalMiB }: MoveState): void {
  if (doneMiB === undefined || totalMiB === undefined) return;
  talk.progress = { doneMiB, totalMiB };
  round.turn.contact("vm", entry.record.id);
}

function takeState(
  round: Round,
  entry: VmEntry,
  talk: MoveTalk,
  move: MoveRecord,
  step: MoveStep,
  state: MoveState,
): void {
  const why = `it was not moved to ${move.to}: ${state.reason ?? "no reason was given"}`;
  const failed = state.stage === "failed";
  // An answer to a question of an earlier stage has nothing to say any more.
  if (STAGE_OF[step] !== move.stage) return;
  switch (step) {
    case "begin":
    case "prepare":
    case "perform":
      talk.heard[step] = state;
      if (failed) giveUp(round, entry, why, "resuming");
      // From here on the destination may be told to run it, by us or by whoever leads next.
      else if (step === "perform") enter(round, entry, { ...move, stage: "finishing" });
      return;
    case "finish":
      talk.heard.finish = state;
      if (failed) giveUp(round, entry, why, "abandoning");
      else handOver(round, entry, move, state);
      return;
    case "abandon":
      // It may have come to run there after all.
      if (state.stage === "finished") handOver(round, entry, move, state);
      else enter(round, entry, { ...move, stage: "resuming" });
      return;
    case "cancel":
      talk.heard.cancel = state;
      return;
    case "confirm":
    case "resume":
      endMove(round, entry, move.reason ?? "it was not moved");
      return;
    default:
      assertNever(step);
  }
}

const STAGE_OF: Readonly<Record<MoveStep, MoveRecord["stage"]>> = {
  begin: "copying",
  prepare: "copying",
  perform: "copying",
  finish: "finishing",
  abandon: "abandoning",
  confirm: "confirming",
  cancel: "resuming",
  resume: "resuming",
};

/** A host that says *later* is asked later; every other no ends the way forward, and changes nothing on the way back. */
function takeRefusal(
  round: Round,
  entry: VmEntry,
  talk: MoveTalk,
  move: MoveRecord,
  step: MoveStep,
  refused: Refusal,
): void {
  if (move.stage === "copying" && refused.kind !== "unavailable" && refused.kind !== "stale-term") {
    const at = step === "prepare" ? move.to : move.from;
    giveUp(round, entry, `it was not moved to ${move.to}: ${at}: ${refused.message}`, "resuming");
    return;
  }
  // The source knows nothing of the move, or of the VM: there is nothing to resume or to confirm.
  const unknown = refused.kind === "item-not-found" || refused.reason === "wrong-role";
  if (unknown && (step === "resume" || step === "confirm")) endMove(round, entry, move.reason ?? "was not moved");
  else if (step === "cancel") talk.heard.cancel = { id: move.id, stage: "failed" };
  else later(round, talk);
}

function takeLeftover(round: Round, entry: VmEntry, talk: MoveTalk, end: Exclude<End, { kind: "unknown" }>): void {
  const over = end.kind === "state" && (end.state.stage === "abandoned" || end.state.stage === "failed");
  if (over) {
    forgetPart(round, entry);
    changeVm(round, entry, { leftover: undefined });
    round.set.afterMove.add(entry.record.id);
  } else later(round, talk);
}

/** What was only prepared there is void: what its host said of it before, or says in a list that is on its way, counts no more. */
function forgetPart(round: Round, { record }: VmEntry): void {
  const { leftover } = record;
  const host = leftover === undefined ? undefined : round.set.hosts.get(leftover.host);
  if (leftover === undefined || host?.reported.get(record.id)?.attempt !== leftover.attempt) return;
  noteReport(round, host, record.id, undefined);
  host.movedSinceFetch.add(record.id);
}

function later(round: Round, talk: MoveTalk): void {
  talk.retryAtMs = round.turn.nowMs + pauseMs(talk.tries);
  talk.tries += 1;
}
