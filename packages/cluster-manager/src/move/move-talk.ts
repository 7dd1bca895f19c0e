import type { MoveState, MoveStep } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";

/** A question on its way to a host. */
export type MoveCall = { readonly host: string; readonly step: MoveStep; readonly dueMs: number };

/** What this core has heard of a move. Not stored: a successor asks the same steps again and hears the same (H2). */
export type MoveTalk = {
  call: MoveCall | undefined;
  /** Questions without an answer, in a row, and when the next one may go. */
  tries: number;
  retryAtMs: number;
  heard: Partial<Record<MoveStep, MoveState>>;
  progress: { readonly doneMiB: number; readonly totalMiB: number } | undefined;
};

export function newTalk(): MoveTalk {
  return { call: undefined, tries: 0, retryAtMs: 0, heard: {}, progress: undefined };
}

/** A question to be asked: who is asked, for which attempt, and what of the earlier answers it carries. */
export type MoveQuestion = {
  readonly id: string;
  readonly host: string;
  readonly attempt: number;
  readonly step: MoveStep;
  /** Step whose yield is handed on. */
  readonly carries?: MoveStep;
};

/** What is to be asked next; `undefined` when there is nothing to do, or not yet. Pure. */
export function nextQuestion(record: VmRecord, { heard }: MoveTalk): MoveQuestion | undefined {
  const { move, leftover } = record;
  if (move === undefined)
    return leftover === undefined || leftover.dead === true
      ? undefined
      : { id: leftover.id, host: leftover.host, attempt: leftover.attempt, step: "abandon" };
  const source = (step: MoveStep, carries?: MoveStep): MoveQuestion => ({
    id: move.id,
    host: move.from,
    attempt: move.fromAttempt,
    step,
    ...(carries === undefined ? {} : { carries }),
  });
  const destination = (step: MoveStep, carries?: MoveStep): MoveQuestion => ({
    ...source(step, carries),
    host: move.to,
    attempt: move.attempt,
  });
  switch (move.stage) {
    case "copying":
      if (heard.begin === undefined) return source("begin");
      if (heard.prepare === undefined) return destination("prepare", "begin");
      return source("perform", "prepare");
    case "finishing":
      return destination("finish", "perform");
    case "confirming":
      return source("confirm", "finish");
    case "abandoning":
      return destination("abandon");
    case "resuming":
      // What is under way is ended first: it would keep the source busy to its own end.
      return heard.cancel === undefined ? source("cancel") : source("resume");
  }
}
