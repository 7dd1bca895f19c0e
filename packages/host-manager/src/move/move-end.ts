/** Takes in how the steps of a move ended, what a survey says of a VM that is being moved, and time that is over. */
import type { MoveStage, MoveState } from "@muster/protocol";
import { observe } from "../core/observe.ts";
import type { AttemptRecord, HostState } from "../core/state.ts";
import type { Turn } from "../core/turn.ts";
import type { DomainReport } from "../hypervisor/port.ts";
import { stateOfRunning, tell } from "./move-desk.ts";
import { hasComeToRun } from "./move-part.ts";
import { type Moving, stateAt, withMoveOver } from "./moving.ts";
import type { MoveOutcome, MoveProgress, OrderedStep } from "./port.ts";

const DONE: Readonly<Record<OrderedStep, MoveStage>> = {
  begin: "begun",
  prepare: "prepared",
  perform: "performed",
  finish: "finished",
  abandon: "abandoned",
  confirm: "confirmed",
  resume: "resumed",
};

export function takeMoved(turn: Turn, vm: string, id: string, step: OrderedStep, outcome: MoveOutcome): void {
  const moving = turn.moves.get(vm);
  const record = turn.attempts.get(vm);
  turn.touched.set(vm, turn.number);
  if (moving?.id !== id || record?.move?.id !== id) return;
  const how = outcome.kind === "done" ? "done" : outcome.reason;
  turn.log(outcome.kind === "done" ? "info" : "warn", `${step} of its move: ${how}`, vm);
  turn.moves.set(vm, { ...moving, underway: undefined });
  if (isOpen(step, outcome)) {
    answerAll(turn, vm, step, { id, stage: "underway" });
    turn.surveyNow();
    return;
  }
  settle(turn, record, step, outcome);
  const after = turn.attempts.get(vm);
  // A guest that came to run here after all is not given up.
  const runs = step === "abandon" && after?.state === "running";
  const state = step === "finish" || runs ? stateHere(id, after) : stateOf(id, step, outcome);
  turn.moves.set(vm, { ...(turn.moves.get(vm) ?? moving), results: new Map(moving.results).set(step, state) });
  answerAll(turn, vm, step, state);
  if (after?.move === undefined) forget(turn, vm);
}

/** These have to come to an end one way: whoever asks next has it tried again, or the survey tells how it ended. */
function isOpen(step: OrderedStep, outcome: MoveOutcome): boolean {
  if (step === "finish") return outcome.kind === "unknown";
  return outcome.kind !== "done" && (step === "abandon" || step === "confirm" || step === "resume");
}

function stateHere(id: string, record: AttemptRecord | undefined): MoveState {
  if (record !== undefined && hasComeToRun(record)) return stateOfRunning(id, record);
  return { id, stage: "failed", reason: record?.reason ?? "it does not run here" };
}

function stateOf(id: string, step: OrderedStep, outcome: MoveOutcome): MoveState {
  if (outcome.kind !== "done") return { id, stage: "failed", reason: outcome.reason.slice(0, 200) };
  const { cookie, xml, link } = outcome;
  return {
    id,
    stage: DONE[step],
    ...(cookie === undefined ? {} : { cookie }),
    ...(xml === undefined ? {} : { xml }),
    ...(link === undefined ? {} : { link }),
  };
}

function settle(turn: Turn, record: AttemptRecord, step: OrderedStep, outcome: MoveOutcome): void {
  const { move, ...left } = record;
  const atSource = step === "begin" || step === "resume";
  const rest = atSource && move !== undefined ? withMoveOver(left, move.id) : left;
  if (outcome.kind !== "done") {
    // Nothing is locked, or left, by a step that was refused.
    if (outcome.kind === "refused" && step === "begin") turn.put(rest);
    if (outcome.kind === "refused" && (step === "prepare" || step === "finish")) endVoid(turn, record, outcome.reason);
    return;
  }
  const { domain } = outcome;
  if (step === "finish" || step === "resume" || (step === "abandon" && domain !== undefined)) {
    turn.put(rest);
    if (domain !== undefined) observe(turn, rest, domain);
    turn.surveyNow();
  } else if (step === "abandon") endVoid(turn, record, "its move was given up");
  else if (step === "confirm") {
    const { address: _address, intent: _intent, movesOver: _over, ...gone } = rest;
    turn.putAndTell({ ...gone, state: "gone", reason: "it was moved to another host" });
  }
}

/** H5: it never ran here and never will. */
function endVoid(turn: Turn, { vm, attempt }: AttemptRecord, reason: string): void {
  turn.putAndTell({ vm, attempt, state: "void", reason });
}

/**
 * A VM in the middle of a move. At its source it may be paused by the move, which is nobody's order, and is left as it is
 * (P1). At the destination it is not a guest of this host before `finish`; a new process learns here how that ended.
 */
export function surveyMoving(turn: Turn, record: AttemptRecord, domain: DomainReport | undefined): void {
  const moving = turn.moves.get(record.vm);
  const { move, ...rest } = record;
  if (move?.role !== "destination" || moving?.underway !== undefined) return;
  // Only a process that neither prepared it nor gave it up does not know how it stands.
  if (moving !== undefined && !moving.finishing && moving.results.size > 0) return;
  const mayHaveRun = move.finishing === true;
  if (domain?.state === "running" || (mayHaveRun && domain?.state === "stopped")) {
    turn.put(rest);
    observe(turn, rest, domain);
  } else if (domain === undefined && mayHaveRun && !isOfThisBoot(turn, record)) {
    turn.putAndTell({
      ...rest,
      state: "failed",
      reason: "its domain is gone: the host went down as it came to run here",
    });
  } else if (domain === undefined) {
    endVoid(turn, record, "what was prepared for its move is gone: the host manager or libvirt was restarted");
  } else return;
  answerAll(turn, record.vm, "finish", stateHere(move.id, turn.attempts.get(record.vm)));
  forget(turn, record.vm);
}

/** In one boot of the machine a guest that came to run here leaves its definition behind, whatever became of it. */
function isOfThisBoot({ machineBoot }: Turn, record: AttemptRecord): boolean {
  return machineBoot !== undefined && record.machineBoot === machineBoot;
}

/** The move is over here: what was ordered meanwhile is carried out now. */
function forget(turn: Turn, vm: string): void {
  turn.moves.delete(vm);
  if (turn.attempts.get(vm)?.intent !== undefined) turn.waiting.set(vm, true);
}

/** Ends every question that is open: those about this step with its end, others are asked again. */
function answerAll(turn: Turn, vm: string, step: OrderedStep, state: MoveState): void {
  const moving = turn.moves.get(vm);
  if (moving === undefined) return;
  turn.moves.set(vm, { ...moving, waiters: [] });
  for (const waiter of moving.waiters)
    tell(turn, waiter, waiter.step === step ? state : { id: moving.id, stage: "underway" });
}

export function takeMoveProgress(turn: Turn, vm: string, progress: MoveProgress): void {
  const moving = turn.moves.get(vm);
  if (moving?.underway === "perform") turn.moves.set(vm, { ...moving, progress });
}

/** Questions that were kept open for long enough. */
export function answerWaiters(turn: Turn): void {
  for (const [vm, moving] of turn.moves.map) {
    const due = moving.waiters.filter(({ dueMs }) => dueMs <= turn.nowMs);
    if (due.length === 0) continue;
    turn.moves.set(vm, { ...moving, waiters: moving.waiters.filter((waiter) => !due.includes(waiter)) });
    for (const waiter of due) tell(turn, waiter, stateAt(moving, waiter.step));
  }
}

export function moveDueMs({ moves }: Pick<HostState, "moves">): number {
  return Math.min(Number.POSITIVE_INFINITY, ...Array.from(moves.values()).flatMap(waiterDues));
}

function waiterDues({ waiters }: Moving): number[] {
  return waiters.map(({ dueMs }) => dueMs);
}
