/**
 * Takes the steps of a move: fenced by term (H1), stored before they are acted on, one effect a step (H2). While a VM is
 * being moved no other order touches it, and what it looks like on the hypervisor is not what it is.
 */
import { MOVE_ROLES, type Move, type MoveState, type Refusal, refusal } from "@muster/protocol";
import { admit, journalFull } from "../command/admission.ts";
import { judgeAttempt, voided } from "../command/attempt-rule.ts";
import { fence } from "../command/fence.ts";
import { leaseTerm } from "../command/lease.ts";
import { type AttemptRecord, isLive } from "../core/state.ts";
import type { Turn } from "../core/turn.ts";
import { hasComeToRun, startStep } from "./move-part.ts";
import { type MoveWaiter, newMoving, stateAt, withMoveOver, withWaiter } from "./moving.ts";
import type { MoveOrder, OrderedStep } from "./port.ts";

type Verdict =
  | { readonly kind: "state"; readonly state: MoveState }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** The step is under way: the question waits. */
  | { readonly kind: "wait"; readonly step: OrderedStep };

export function takeMove(turn: Turn, ticket: number, move: Move): void {
  const stale = fence(turn.head.term, move.term);
  if (stale !== undefined) {
    turn.effects.push({ kind: "answer", ticket, answer: { kind: "refused", refusal: stale } });
    return;
  }
  turn.obey(move.term);
  const verdict = decide(turn, move);
  if (verdict.kind === "wait") {
    keepOpen(turn, ticket, move, verdict.step);
    return;
  }
  const answer =
    verdict.kind === "refused"
      ? { kind: "refused" as const, refusal: verdict.refusal }
      : { kind: "moved" as const, state: verdict.state };
  turn.effects.push({ kind: "answer", ticket, answer });
}

function keepOpen(turn: Turn, ticket: number, { vm, waitMs, term }: Move, step: OrderedStep): void {
  const moving = turn.moves.get(vm);
  if (moving === undefined) return;
  const { moving: next, early } = withWaiter(moving, { ticket, step, term, dueMs: turn.nowMs + waitMs });
  turn.moves.set(vm, next);
  if (early !== undefined) tell(turn, early, stateAt(next, early.step));
  if (step === "perform") turn.effects.push({ kind: "move-progress", vm });
}

export function tell(turn: Turn, { ticket, term }: MoveWaiter, state: MoveState): void {
  const stale = fence(turn.head.term, term);
  const answer = stale === undefined ? { kind: "moved" as const, state } : { kind: "refused" as const, refusal: stale };
  turn.effects.push({ kind: "answer", ticket, answer });
}

function decide(turn: Turn, move: Move): Verdict {
  const record = turn.attempts.get(move.vm);
  const mine = record?.attempt === move.attempt && record.move?.id === move.id;
  if (mine && record.move?.role !== MOVE_ROLES[move.step])
    return refused("bad-request", "wrong-role", `this host is the ${record.move?.role} of the move`);
  if (record?.attempt === move.attempt && record.move !== undefined && !mine)
    return refused("conflict", "moving", `another move of this VM is under way here: ${record.move.id}`);
  switch (move.step) {
    case "begin":
      // Not begun a second time: the guest may have been sent over already, by the process before this one.
      return mine ? again(turn, record, "begin") : begin(turn, move, record);
    case "prepare":
      return mine ? again(turn, record, "prepare") : prepare(turn, move, record);
    case "perform":
      return mine ? perform(turn, move, record) : over(move, "this host takes no part in this move any more");
    case "cancel":
      if (mine) turn.effects.push({ kind: "move-cancel", vm: move.vm });
      return mine ? again(turn, record, "perform") : over(move, "nothing is being moved");
    case "finish":
      return mine ? finish(turn, move, record) : finished(turn, move, record);
    case "abandon":
      return mine ? proceed(turn, record, { step: "abandon", vm: move.vm }) : abandoned(turn, move, record);
    case "confirm":
      return mine
        ? proceed(turn, record, { step: "confirm", vm: move.vm, ...cookieOf(move) })
        : confirmed(move, record);
    case "resume":
      return mine ? proceed(turn, record, { step: "resume", vm: move.vm }) : resumed(turn, move, record);
  }
}

function begin(turn: Turn, move: Move, record: AttemptRecord | undefined): Verdict {
  if (record === undefined || record.attempt !== move.attempt || !isLive(record))
    return refused(
      "item-not-found",
      "unknown-vm",
      `attempt ${move.attempt} of VM ${move.vm} does not run on this host`,
    );
  if (record.movesOver?.includes(move.id) === true) return over(move, "this move is over here");
  if (turn.hypervisor.kind !== "ready") return away(turn);
  if (turn.hypervisor.facts.moves !== true) return cannotMove();
  if (record.state !== "running")
    return refused("conflict", "not-running", `it is ${record.state}: only a running VM is moved alive`);
  if (record.intent !== undefined || turn.jobs.has(move.vm))
    return refused("unavailable", "busy", "another order for this VM is under way", 1_000);
  turn.put({ ...record, move: { id: move.id, role: "source" } });
  return start(turn, move.id, { step: "begin", vm: move.vm });
}

/** An incoming guest is admitted like one that is started here (H4), under an attempt of its own (H5). */
function prepare(turn: Turn, move: Move, record: AttemptRecord | undefined): Verdict {
  const { vm, attempt, subject, xml, cookie } = move;
  if (subject === undefined || xml === undefined || cookie === undefined)
    return refused("bad-request", "invalid", "a preparation needs its subject, xml and cookie");
  const verdict = judgeAttempt(record, attempt);
  if (verdict.kind === "twin")
    return refused(
      "conflict",
      "attempt-live",
      `attempt ${verdict.record.attempt} of this VM is ${verdict.record.state} here`,
    );
  // Its tombstone may be settled by now: what comes so late is known by its move (H2, H5).
  if (verdict.kind !== "new" || turn.answers.get(move.id) !== undefined) return over(move, "this attempt is over here");
  if (turn.hypervisor.kind !== "ready") return away(turn);
  if (turn.hypervisor.facts.moves !== true) return cannotMove();
  const busy = journalFull(turn, vm) ?? admit(turn, subject.spec);
  if (busy !== undefined) return { kind: "refused", refusal: busy };
  const lease = leaseTerm(turn, move);
  if (lease.kind === "refused") return lease;
  turn.put({
    vm,
    attempt,
    state: "starting",
    subject,
    move: { id: move.id, role: "destination" },
    ...(lease.kind === "until" ? { lease: lease.end } : {}),
    ...(turn.machineBoot === undefined ? {} : { machineBoot: turn.machineBoot }),
  });
  rememberMove(turn, move, "starting");
  return start(turn, move.id, { step: "prepare", vm, plan: { vm, attempt, subject }, xml, cookie });
}

function perform(turn: Turn, move: Move, record: AttemptRecord): Verdict {
  const { vm, link, cookie } = move;
  if (link === undefined || cookie === undefined)
    return refused("bad-request", "invalid", "performing needs the link and the cookie");
  // What `begin` locked ended with the process that did it.
  if (turn.moves.get(vm)?.results.has("begin") !== true) return over(move, "the host manager was restarted meanwhile");
  return proceed(turn, record, { step: "perform", vm, link, cookie });
}

function finish(turn: Turn, move: Move, record: AttemptRecord): Verdict {
  const moving = turn.moves.get(record.vm);
  // After a restart the next survey tells whether the guest came to run here.
  if (moving === undefined) return waitFor(turn, record, "finish");
  if (!moving.results.has("prepare")) return over(move, "it was not prepared here");
  return proceed(turn, record, { step: "finish", vm: move.vm, ...cookieOf(move) });
}

/** Goes on with a step that may be asked for any number of times: it is under way, has ended, or begins now. */
function proceed(turn: Turn, record: AttemptRecord, order: MoveOrder): Verdict {
  const moving = turn.moves.get(record.vm);
  if (moving?.underway !== undefined) return { kind: "wait", step: order.step };
  const known = moving?.results.get(order.step);
  return known === undefined ? start(turn, record.move?.id ?? "", order) : { kind: "state", state: known };
}

function start(turn: Turn, id: string, order: MoveOrder): Verdict {
  startStep(turn, id, order);
  return { kind: "wait", step: order.step };
}

/** How a step stands that began earlier; one of which nothing is known any more has failed. */
function again(turn: Turn, record: AttemptRecord, step: OrderedStep): Verdict {
  const moving = turn.moves.get(record.vm);
  if (moving === undefined) return over({ id: record.move?.id ?? "" }, "the host manager was restarted meanwhile");
  const known = moving.results.get(step);
  if (known !== undefined) return { kind: "state", state: known };
  return moving.underway === undefined ? over(moving, `${step} was not begun`) : { kind: "wait", step };
}

function waitFor(turn: Turn, record: AttemptRecord, step: OrderedStep): Verdict {
  if (!turn.moves.has(record.vm)) turn.moves.set(record.vm, newMoving(record.move?.id ?? ""));
  turn.surveyNow();
  return { kind: "wait", step };
}

function finished(turn: Turn, move: Move, record: AttemptRecord | undefined): Verdict {
  // A journal that was lost is made good by the first survey.
  if (record === undefined && turn.hypervisor.kind !== "ready") return away(turn);
  if (record === undefined || record.attempt !== move.attempt || !hasComeToRun(record))
    return over(move, record?.reason ?? "it does not run here");
  return { kind: "state", state: stateOfRunning(move.id, record) };
}

/** H5: an attempt that was never prepared here is voided all the same; one that came to run here is told to run. */
function abandoned(turn: Turn, move: Move, record: AttemptRecord | undefined): Verdict {
  const verdict = judgeAttempt(record, move.attempt);
  if (verdict.kind === "same" && hasComeToRun(verdict.record))
    return { kind: "state", state: stateOfRunning(move.id, verdict.record) };
  if (verdict.kind === "new" || verdict.kind === "twin") {
    if (record === undefined && turn.hypervisor.kind !== "ready") return away(turn);
    const full = journalFull(turn, move.vm);
    if (full !== undefined) return { kind: "refused", refusal: full };
    turn.put(voided(record, move.vm, move.attempt));
    if (turn.answers.get(move.id) === undefined) rememberMove(turn, move, "void");
  }
  return { kind: "state", state: { id: move.id, stage: "abandoned" } };
}

/** Kept as long as the answers to commands are: longer than anything is on its way (H2). */
function rememberMove(turn: Turn, { id, vm, attempt }: Move, state: "starting" | "void"): void {
  turn.remember(id, "move", { kind: "outcome", outcome: { id, vm, attempt, state } });
}

function confirmed(move: Move, record: AttemptRecord | undefined): Verdict {
  if (record?.attempt === move.attempt && isLive(record)) return over(move, "it was resumed here");
  return { kind: "state", state: { id: move.id, stage: "confirmed" } };
}

/** Also where its `begin` is still on its way: that comes too late then. */
function resumed(turn: Turn, move: Move, record: AttemptRecord | undefined): Verdict {
  if (record?.attempt === move.attempt && isLive(record)) {
    const kept = withMoveOver(record, move.id);
    if (kept !== record) turn.put(kept);
    return { kind: "state", state: { id: move.id, stage: "resumed" } };
  }
  return over(move, "it is not here any more");
}

export function stateOfRunning(id: string, { address }: AttemptRecord): MoveState {
  return { id, stage: "finished", ...(address === undefined ? {} : { address }) };
}

function over({ id }: { readonly id: string }, reason: string): Verdict {
  return { kind: "state", state: { id, stage: "failed", reason: reason.slice(0, 200) } };
}

function cookieOf({ cookie }: Move): { readonly cookie?: string } {
  return cookie === undefined ? {} : { cookie };
}

function refused(kind: Refusal["kind"], reason: string, message: string, retryAfterMs?: number): Verdict {
  return {
    kind: "refused",
    refusal: refusal(kind, reason, message, retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function away(turn: Turn): Verdict {
  return refused(
    "unavailable",
    "hypervisor-unavailable",
    "the hypervisor of this host does not answer now",
    turn.policy.surveyMs,
  );
}

function cannotMove(): Verdict {
  return refused("not-acceptable", "cannot-move", "the hypervisor of this host does not move VMs alive");
}
