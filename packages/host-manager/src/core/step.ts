/**
 * The core of a host manager: everything it decides, without a clock, a socket or a disk.
 *
 * The shell drains what has arrived, takes one step over all of it, stores the changes in one synchronous write, and only
 * then carries out the effects: nothing is answered or acted on before it is stored (H1, H2, H5).
 */
import { assertNever } from "@muster/base";
import { takeCommand } from "../command/desk.ts";
import { fence, fenceHello } from "../command/fence.ts";
import { takeMove } from "../move/move-desk.ts";
import { answerWaiters, moveDueMs, takeMoved, takeMoveProgress } from "../move/move-end.ts";
import { capacityOf } from "../report/capacity.ts";
import { inventoryPage } from "../report/inventory.ts";
import { noticesDueNow, noticesTaken, retryNotices, sendNotices } from "../report/outbox.ts";
import type { Change, Effect, Environment, HostEvent } from "./event.ts";
import { endLeases, leaseDueMs } from "./lease-end.ts";
import { takeSurvey, turnDown } from "./reconcile.ts";
import { type HostState, type HypervisorView, isReportable } from "./state.ts";
import { Turn } from "./turn.ts";
import { learnUnderlay, takeUnderlay } from "./underlay.ts";
import { handOut, takeActed } from "./work.ts";

export type Step = {
  readonly state: HostState;
  /** To be stored, all or nothing. */
  readonly changes: readonly Change[];
  /** To be carried out in order, once the changes are stored. */
  readonly effects: readonly Effect[];
};

/** Leaders count leases from the newest report that they heard: what is older than so many is of no use to them. */
const REPORTS_KEPT = 64;

/** Takes the events in order; the state given is left as it was. */
export function step(state: HostState, events: readonly HostEvent[], env: Environment): Step {
  const turn = new Turn(state, env);
  for (const event of events) take(turn, event);
  answerWaiters(turn);
  endLeases(turn);
  handOut(turn);
  beginSurvey(turn);
  sendNotices(turn);
  turn.settleDigest();
  return report(turn);
}

/** When the core wants to be woken by a tick, if nothing else happens before. */
export function nextDueMs(state: HostState): number {
  const { timing } = state;
  const dues: number[] = [];
  if (isReportable(state)) dues.push(timing.reportDueMs);
  if (timing.surveyTurn === undefined && state.hypervisor.kind !== "unheard") dues.push(timing.surveyDueMs);
  if (state.linked && state.notices.size > 0 && timing.noticesSent === undefined) dues.push(timing.noticesDueMs);
  return Math.min(leaseDueMs(state), moveDueMs(state), ...dues);
}

function take(turn: Turn, event: HostEvent): void {
  switch (event.kind) {
    case "command":
      takeCommand(turn, event.ticket, event.command);
      return;
    case "move":
      takeMove(turn, event.ticket, event.move);
      return;
    case "tunnel":
      takeTunnel(turn, event);
      return;
    case "moved":
      takeMoved(turn, event.vm, event.id, event.step, event.outcome);
      return;
    case "move-progress":
      takeMoveProgress(turn, event.vm, event.progress);
      return;
    case "hello":
      takeHello(turn, event);
      return;
    case "underlay":
      takeUnderlay(turn, event.ticket, event.underlay);
      return;
    case "inventory":
      answerInventory(turn, event);
      return;
    case "linked":
      turn.linked = true;
      noticesDueNow(turn);
      turn.reportNow();
      return;
    case "unlinked":
      turn.linked = false;
      return;
    case "hypervisor-up":
      if (turn.hypervisor.kind !== "ready") turn.hypervisor = hypervisorUp(turn.hypervisor);
      turn.surveyNow();
      return;
    case "hypervisor-down":
      turnDown(turn, event.reason);
      return;
    case "hypervisor-changed":
      turn.surveyNow();
      return;
    case "surveyed":
      surveyed(turn, event);
      return;
    case "acted":
      takeActed(turn, event.vm, event.job, event.outcome);
      return;
    case "notices-taken":
      noticesTaken(turn, event.batch, event.sequence);
      return;
    case "discarded":
      turn.discarded(event.vms, event.done);
      return;
    case "notices-unanswered":
      if (event.batch === turn.timing.batch) retryNotices(turn);
      return;
    case "tick":
      return;
    default:
      assertNever(event);
      return;
  }
}

function hypervisorUp({ facts }: HypervisorView): HypervisorView {
  return { kind: "up", ...(facts === undefined ? {} : { facts }) };
}

/** A new leader: its term is stored before anything of it is obeyed (H1), and it hears at once how things stand (L4). */
function takeHello(turn: Turn, { ticket, hello }: HostEvent & { kind: "hello" }): void {
  const stale = fenceHello(turn.head, hello);
  if (stale !== undefined) {
    turn.effects.push({ kind: "answer", ticket, answer: { kind: "refused", refusal: stale } });
    return;
  }
  turn.obey(hello.term);
  if (hello.opening !== undefined && hello.opening !== turn.head.opening)
    turn.head = { ...turn.head, opening: hello.opening };
  if (hello.underlay !== undefined) learnUnderlay(turn, hello.term, hello.underlay);
  turn.reportNow();
  noticesDueNow(turn);
  const welcome = { term: turn.head.term, bootId: turn.bootId };
  turn.effects.push({ kind: "answer", ticket, answer: { kind: "welcome", welcome } });
}

/** H1: the term is stored before anything is made or removed. */
function takeTunnel(turn: Turn, { ticket, order }: HostEvent & { kind: "tunnel" }): void {
  const stale = fence(turn.head.term, order.term);
  if (stale !== undefined) {
    turn.effects.push({ kind: "answer", ticket, answer: { kind: "refused", refusal: stale } });
    return;
  }
  turn.obey(order.term);
  turn.effects.push({ kind: "tunnel", ticket, order });
}

function answerInventory(turn: Turn, { ticket, query }: HostEvent & { kind: "inventory" }): void {
  turn.settleDigest();
  const page = inventoryPage({ bootId: turn.bootId, head: turn.head, attempts: turn.attempts.map }, query);
  turn.effects.push({ kind: "answer", ticket, answer: { kind: "page", page } });
}

function surveyed(turn: Turn, { outcome }: HostEvent & { kind: "surveyed" }): void {
  const { surveyTurn, ...timing } = turn.timing;
  turn.timing = timing;
  takeSurvey(turn, outcome, surveyTurn ?? 0);
}

/** One survey at a time, between orders: a change heard meanwhile makes the next one due at once. */
function beginSurvey(turn: Turn): void {
  const { timing } = turn;
  if (turn.hypervisor.kind === "unheard") return;
  if (timing.surveyTurn !== undefined || timing.surveyDueMs > turn.nowMs) return;
  turn.timing = { ...timing, surveyTurn: turn.number, surveyDueMs: turn.nowMs + turn.policy.surveyMs };
  turn.effects.push({ kind: "survey" });
}

/** Ends the turn; where a report is due, it tells the state at the end of it. */
function report(turn: Turn): Step {
  if (!isReportable(turn) || turn.timing.reportDueMs > turn.nowMs) return turn.end();
  const sequence = turn.timing.sequence + 1;
  const reports = [...turn.timing.reports.slice(1 - REPORTS_KEPT), { sequence, sentMs: turn.machineMs }];
  turn.timing = { ...turn.timing, sequence, reports, reportDueMs: turn.nowMs + turn.policy.heartbeatMs };
  const ended = turn.end();
  return { ...ended, effects: [...ended.effects, { kind: "report", capacity: capacityOf(ended.state, sequence) }] };
}
