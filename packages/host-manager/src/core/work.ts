/** Hands orders to the hypervisor, one a VM at a time, and takes in how they ended. */
import type { ActOutcome } from "../hypervisor/port.ts";
import { isLeaseOver, isOfLease, LEASE_OVER } from "./lease-end.ts";
import { observe } from "./observe.ts";
import { operated } from "./operated.ts";
import { turnDown } from "./reconcile.ts";
import { type AttemptRecord, type Intent, isLive, type Job } from "./state.ts";
import type { Turn } from "./turn.ts";

/** Gives out what waits, as far as the hypervisor may be busied; a record's order is stored by the end of this turn. */
export function handOut(turn: Turn): void {
  if (turn.hypervisor.kind !== "ready") return;
  for (const vm of Array.from(turn.waiting.map.keys())) {
    if (turn.jobs.size >= turn.policy.jobsMax) return;
    if (turn.jobs.has(vm)) continue;
    turn.waiting.delete(vm);
    const record = turn.attempts.get(vm);
    // What was ordered during a move is taken up at its end.
    if (record !== undefined && isLive(record) && record.move === undefined) handOutNext(turn, record);
  }
}

function handOutNext(turn: Turn, record: AttemptRecord): void {
  const { vm, attempt, intent, subject } = record;
  if (record.state === "starting" && intent?.action !== "delete" && isLeaseOver(turn, record)) {
    // It must not start any more; whether it has, only a survey can tell.
    turn.surveyNow();
  } else if (record.state === "starting" && intent?.action !== "delete" && subject !== undefined) {
    const job: Job = { action: "start", attempt, command: "" };
    turn.put({ ...record, tries: (record.tries ?? 0) + 1 });
    begin(turn, vm, job);
    turn.effects.push({ kind: "start", vm, job, plan: { vm, attempt, subject } });
  } else if (intent !== undefined) {
    if (intent.action === "operate") {
      handOutOperation(turn, record, intent);
      return;
    }
    const job: Job = { ...intent, attempt };
    begin(turn, vm, job);
    turn.effects.push({ kind: "act", vm, job, action: intent.action });
  }
}

function handOutOperation(turn: Turn, record: AttemptRecord, intent: Intent & { action: "operate" }): void {
  const { vm, attempt } = record;
  const { action, command, operation, tries = 0 } = intent;
  const job: Job = { action, attempt, command, operation };
  if (tries >= turn.policy.startTriesMax) {
    const reason = `it was tried ${tries} times, each without an end: see the log of its host manager`;
    operated(turn, withoutDone(record, job), job, { kind: "refused", reason });
    return;
  }
  turn.put({ ...record, intent: { ...intent, tries: tries + 1 } });
  begin(turn, vm, job);
  turn.effects.push({ kind: "operate", vm, job, operation });
}

function begin(turn: Turn, vm: string, job: Job): void {
  turn.jobs.set(vm, job);
  turn.touched.set(vm, turn.number);
}

/** An order came back from the hypervisor. */
export function takeActed(turn: Turn, vm: string, job: Job, outcome: ActOutcome): void {
  turn.jobs.delete(vm);
  turn.touched.set(vm, turn.number);
  const record = turn.attempts.get(vm);
  if (record === undefined || record.attempt !== job.attempt) {
    turn.surveyNow();
    return;
  }
  if (outcome.kind === "unknown") {
    outcomeUnknown(turn, record, job, outcome.reason);
    return;
  }
  const given = record.intent?.command;
  const ofLease = isOfLease(record, job);
  const kept = ofLease && outcome.kind === "refused" ? record : withoutDone(record, job);
  if (kept !== record) turn.put(kept);
  if (job.action === "operate") operated(turn, kept, job, outcome);
  else if (outcome.kind === "refused") orderRefused(turn, kept, job, outcome.reason);
  else if (job.action === "delete") deleted(turn, kept);
  else if (outcome.domain !== undefined) observe(turn, kept, outcome.domain, ofLease ? LEASE_OVER : undefined);
  const next = turn.attempts.get(vm)?.intent;
  // The end of a lease that the hypervisor refuses is tried again after the next survey.
  if (next !== undefined && !(ofLease && next.command === given)) turn.waiting.set(vm, true);
}

/** Whatever else was ordered meanwhile has nothing left to act on. */
function deleted(turn: Turn, record: AttemptRecord): void {
  const { intent: _, ...rest } = record;
  turn.putAndTell(withoutAddress({ ...rest, state: "gone" }));
}

/** Only a survey can tell what became of it, and it is asked for at once (V3). */
function outcomeUnknown(turn: Turn, record: AttemptRecord, job: Job, reason: string): void {
  // A second reboot is worse than none: it is the one order that is not repeated.
  if (job.action === "reboot") turn.put(withoutDone(record, job));
  turnDown(turn, reason);
  turn.surveyNow();
}

function orderRefused(turn: Turn, record: AttemptRecord, job: Job, reason: string): void {
  turn.log("warn", `the hypervisor refused to ${job.action} it: ${reason}`, record.vm);
  if (job.action !== "start") {
    turn.putAndTell({ ...record, reason: `cannot ${job.action} it: ${reason}` });
    return;
  }
  const { intent, ...rest } = record;
  turn.putAndTell(withoutAddress({ ...rest, state: intent?.action === "delete" ? "gone" : "failed", reason }));
}

/** The record without the order that the job carried out, where no newer one took its place. */
function withoutDone(record: AttemptRecord, job: Job): AttemptRecord {
  if (record.intent === undefined) return record;
  const isNextCutOff = record.intent.action === "operate" && record.intent.operation.kind === "cut-off";
  // What was to be cut off while it was being stopped has ended.
  if (record.intent.command !== job.command && !(isNextCutOff && job.action === "stop")) return record;
  const { intent: _, ...rest } = record;
  return rest;
}

function withoutAddress(record: AttemptRecord): AttemptRecord {
  const { address: _, ...rest } = record;
  return rest;
}
