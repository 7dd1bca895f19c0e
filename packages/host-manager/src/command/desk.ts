import { type Command, digestOf, type Refusal, refusal } from "@muster/protocol";
import type { Ticket } from "../core/event.ts";
import { type AttemptRecord, type CommandAnswer, isLive } from "../core/state.ts";
import type { Turn } from "../core/turn.ts";
import { endPart } from "../move/move-part.ts";
import { admit, journalFull } from "./admission.ts";
import { judgeAttempt, voided } from "./attempt-rule.ts";
import { fence } from "./fence.ts";
import { extended, leaseTerm } from "./lease.ts";
import { cutOff, operate } from "./operate.ts";
import { orderOf, unknownVm } from "./order.ts";
import { stands, standsAs } from "./outcome.ts";

/** Takes one command: fenced by term (H1), answered once per id (H2); what it orders is stored before it is acted on. */
export function takeCommand(turn: Turn, ticket: Ticket, command: Command): void {
  turn.effects.push({ kind: "answer", ticket, answer: answerTo(turn, command) });
}

function answerTo(turn: Turn, command: Command): CommandAnswer {
  const stale = fence(turn.head.term, command.term);
  if (stale !== undefined) return { kind: "refused", refusal: stale };
  turn.obey(command.term);
  // A successor repeats its predecessor's commands under its own term, and what is left of a lease shrinks from one try to
  // the next: neither is part of the content.
  const { lease: _, ...content } = command;
  const digest = digestOf({ ...content, term: 0 });
  const stored = turn.answers.get(command.id);
  if (stored !== undefined) return stored.digest === digest ? stored.answer : conflictingId(command);
  const answer = decide(turn, command);
  // "Try again later" is no answer yet: the same id is to be tried again.
  if (answer.kind === "outcome" || answer.refusal.kind !== "unavailable") turn.remember(command.id, digest, answer);
  return answer;
}

function decide(turn: Turn, command: Command): CommandAnswer {
  const record = turn.attempts.get(command.vm);
  if (record?.move !== undefined && command.action !== "renew") {
    const ends = command.action === "delete" || (command.action === "void" && record.move.role === "destination");
    const over = ends && command.attempt === record.attempt;
    const end = over ? endPart(turn, record, record.move) : "moving";
    if (end !== "let-go") return end === "ending" ? standsAs(command, record) : moving(record);
  }
  switch (command.action) {
    case "start":
      return decideStart(turn, command);
    case "void":
      return decideVoid(turn, command);
    case "delete":
      return decideDelete(turn, command);
    case "settle":
      return decideSettle(turn, command);
    case "renew":
      return decideRenew(turn, command);
    case "operate":
      return operate(turn, command);
    case "cut-off":
      return cutOff(turn, command);
    default:
      return orderOf(turn, command, command.action);
  }
}

/** The attempt rule of `start` (H5), with the host's own word on admission (H4). */
function decideStart(turn: Turn, command: Command): CommandAnswer {
  const { vm, attempt, subject } = command;
  if (subject === undefined) return refused(refusal("bad-request", "invalid", "a start needs its subject"));
  const verdict = judgeAttempt(turn.attempts.get(vm), attempt);
  switch (verdict.kind) {
    case "void":
      return stands(command, "void");
    case "twin":
      return refused(
        refusal(
          "conflict",
          "attempt-live",
          `attempt ${verdict.record.attempt} of this VM is ${verdict.record.state} here; delete it first`,
          { field: "attempt" },
        ),
      );
    case "same":
      return startAgain(turn, command, verdict.record);
    case "new": {
      const full = journalFull(turn, vm);
      if (full !== undefined) return refused(full);
      const busy = admit(turn, subject.spec);
      if (busy !== undefined) {
        turn.put(voided(turn.attempts.get(vm), vm, attempt, busy.message));
        return refused(busy);
      }
      const lease = leaseTerm(turn, command);
      if (lease.kind === "refused") return lease;
      const end = lease.kind === "until" ? { lease: lease.end } : {};
      turn.put({ vm, attempt, state: "starting", subject, ...end, ...bootOf(turn) });
      turn.waiting.set(vm, true);
      return stands(command, "starting");
    }
  }
}

/** A repeated start tells how the first one stands; only a stopped VM is started again, by the same attempt's domain. */
function startAgain(turn: Turn, command: Command, known: AttemptRecord): CommandAnswer {
  if (!isLive(known)) return standsAs(command, known);
  const lease = leaseTerm(turn, command);
  if (lease.kind === "refused") return lease;
  const record = lease.kind === "until" ? extended(known, lease.end) : known;
  if (record.state !== "stopped" || record.intent !== undefined) {
    if (record !== known) turn.put(record);
    return standsAs(command, record);
  }
  if (turn.hypervisor.kind !== "ready") {
    return refused(
      refusal("unavailable", "hypervisor-unavailable", "the hypervisor of this host does not answer now; try again", {
        retryAfterMs: turn.policy.surveyMs,
      }),
    );
  }
  const { reason: _, ...rest } = record;
  turn.put({ ...rest, state: "starting", ...bootOf(turn) });
  turn.waiting.set(record.vm, true);
  return stands(command, "starting");
}

/** A start belongs to the boot of the machine in which it was ordered. */
function bootOf({ machineBoot }: Turn): Pick<AttemptRecord, "machineBoot"> {
  return machineBoot === undefined ? {} : { machineBoot };
}

/** B4: the lease goes on, and is stored before it is answered; an end that was ordered by the lease alone is off again. */
function decideRenew(turn: Turn, command: Command): CommandAnswer {
  const record = turn.attempts.get(command.vm);
  if (record === undefined || record.attempt !== command.attempt) return unknownVm(command, record);
  if (!isLive(record)) return standsAs(command, record);
  const lease = leaseTerm(turn, command);
  if (lease.kind === "refused") return lease;
  if (lease.kind === "until") turn.put(extended(record, lease.end));
  return standsAs(command, record);
}

function decideVoid(turn: Turn, command: Command): CommandAnswer {
  const { vm, attempt } = command;
  const record = turn.attempts.get(vm);
  const verdict = judgeAttempt(record, attempt);
  if (verdict.kind === "same") return standsAs(command, verdict.record);
  return verdict.kind === "void" ? stands(command, "void") : bury(turn, command, record);
}

function decideDelete(turn: Turn, command: Command): CommandAnswer {
  const { vm, attempt, id } = command;
  const record = turn.attempts.get(vm);
  const verdict = judgeAttempt(record, attempt);
  if (verdict.kind === "new" || verdict.kind === "twin") return bury(turn, command, record);
  if (verdict.kind === "void") return stands(command, "gone");
  if (isLive(verdict.record)) {
    turn.put({ ...verdict.record, intent: { action: "delete", command: id } });
    if (turn.jobs.get(vm)?.action === "start") turn.effects.push({ kind: "give-up", vm });
    turn.waiting.set(vm, true);
    return standsAs(command, verdict.record);
  }
  if (verdict.record.state === "failed") {
    turn.put({ ...verdict.record, state: "gone" });
    turn.discard(vm);
  }
  return standsAs(command, turn.attempts.get(vm) ?? verdict.record);
}

/** H5: remembers that the attempt never starts, whatever arrives late. */
function bury(turn: Turn, command: Command, record: AttemptRecord | undefined): CommandAnswer {
  const full = journalFull(turn, command.vm);
  if (full !== undefined) return refused(full);
  turn.put(voided(record, command.vm, command.attempt));
  return stands(command, "void");
}

/** The leader closed its record and sends nothing about the attempt any more: its tombstone may go. */
function decideSettle(turn: Turn, command: Command): CommandAnswer {
  const { vm, attempt } = command;
  const record = turn.attempts.get(vm);
  if (record === undefined) return stands(command, "gone");
  if (attempt < record.attempt) return stands(command, "void");
  if (isLive(record)) return attempt === record.attempt ? standsAs(command, record) : stands(command, "void");
  turn.forget(vm);
  turn.discard(vm);
  // A later attempt that was voided is another promise: it is kept until it is settled itself.
  if (record.voided !== undefined && record.voided > attempt) turn.put({ vm, attempt: record.voided, state: "void" });
  return attempt === record.attempt ? standsAs(command, record) : stands(command, "gone");
}

/** P1: what a VM is in the middle of a move, only the end of the move tells. */
function moving({ attempt }: AttemptRecord): CommandAnswer {
  return refused(
    refusal("unavailable", "moving", `attempt ${attempt} of this VM is being moved; try again when it is over`, {
      retryAfterMs: 1_000,
    }),
  );
}

function conflictingId(command: Command): CommandAnswer {
  return refused(
    refusal("conflict", "command-id-taken", `command ${command.id} was another one before; use a new id`, {
      field: "id",
    }),
  );
}

function refused(because: Refusal): CommandAnswer {
  return { kind: "refused", refusal: because };
}
