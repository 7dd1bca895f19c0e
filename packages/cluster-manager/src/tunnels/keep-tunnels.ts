/**
 * Has every end of a tunnel made and removed by the host that is to have it: at a gateway of ours as long as the exchange of
 * our VM is open, at the host of a peer's VM as long as that runs there. Desired compared with told, without hints: a start
 * of ours, a lost answer and a host that comes back all take the same road.
 */
import type { TunnelEnd, TunnelState } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import { pauseMs } from "../core/limits.ts";
import type { Round } from "../core/round.ts";
import { stepBorrower } from "../dispatch/borrowing.ts";
import { stepLender } from "../dispatch/lending.ts";
import { answerDueMs, isReachable } from "../dispatch/orders.ts";
import { gatewayClosed, gatewayStep, gatewayTold } from "./gateway-end.ts";
import { guestStep } from "./guest-end.ts";
import type { TunnelSide, TunnelTalk } from "./tunnel-book.ts";
import { saysOf, type TunnelAsk, type TunnelStep } from "./tunnel-step.ts";

/** How often an end that is as it should be is looked at again. */
const QUIET_MS = 5_000;

/** How often it is looked whether a host that is not heard is there again. */
const UNREACHED_MS = 1_000;

/** Looks at those that are due; to be called at the end of every step. */
export function driveTunnels(round: Round): void {
  const { tunnels } = round.set;
  const { nowMs } = round.turn;
  const due = tunnels.due(nowMs);
  if (due.length === 0) return;
  for (const { side, talk } of due) drive(round, side, talk);
  tunnels.settle();
}

function drive(round: Round, side: TunnelSide, talk: TunnelTalk): void {
  const { nowMs } = round.turn;
  talk.lookAtMs = nowMs + QUIET_MS;
  if (talk.call !== undefined && talk.call.dueMs > nowMs) {
    talk.lookAtMs = Math.min(talk.lookAtMs, talk.call.dueMs);
    return;
  }
  if (talk.call !== undefined) noAnswer(talk, nowMs);
  const step: TunnelStep = side.kind === "gateway" ? gatewayStep(round, side.id, talk) : guestStep(round, side, talk);
  switch (step.kind) {
    case "none":
      round.set.tunnels.forget(side);
      return;
    case "rest":
      return;
    case "failed":
      stepBorrower(round, { kind: "tunnel-failed", id: side.id, reason: step.reason });
      return;
    case "ask":
      ask(round, side, talk, step.ask);
  }
}

function ask(round: Round, side: TunnelSide, talk: TunnelTalk, { host: name, order }: TunnelAsk): void {
  const { turn, set, policy } = round;
  const host = set.hosts.get(name);
  if (host === undefined || !isReachable(host)) {
    talk.lookAtMs = turn.nowMs + UNREACHED_MS;
    return;
  }
  const { keepMs = 0, action } = order;
  talk.call = { host: name, action, says: saysOf(order), keepMs, dueMs: turn.nowMs + answerDueMs(round) };
  talk.lookAtMs = talk.call.dueMs;
  turn.effect({
    kind: "tunnel",
    side,
    says: talk.call.says,
    host: name,
    order,
    timeoutMs: policy.timing.commandTimeoutMs,
  });
}

/** Takes a host's answer. One to an order that is not under way any more says nothing. */
export function takeTunnelAnswer(round: Round, event: Extract<CoreEvent, { kind: "tunnel-answered" }>): void {
  const { side, host, end } = event;
  const talk = round.set.tunnels.find(side);
  const call = talk?.call;
  if (talk === undefined || call?.host !== host || call.says !== event.says) return;
  const { nowMs } = round.turn;
  talk.call = undefined;
  round.set.tunnels.touch(side);
  if (end.kind === "unknown") {
    noAnswer(talk, nowMs);
    return;
  }
  if (end.kind === "refused") {
    noAnswer(talk, nowMs);
    if (side.kind === "gateway") gatewayTold(round, side.id, talk, host, end.refusal);
    return;
  }
  talk.tries = 0;
  talk.told = call.says;
  talk.toldHost = host;
  talk.keptUntilMs = nowMs + call.keepMs;
  takeState(round, side, host, end.state);
}

function takeState(round: Round, side: TunnelSide, host: string, state: TunnelState): void {
  if (state.stage === "closed") {
    if (side.kind === "gateway") gatewayClosed(round, side.id, { host, attempt: state.attempt });
    return;
  }
  if (state.own !== undefined) tell(round, side, state.own);
}

function tell(round: Round, side: TunnelSide, end: TunnelEnd): void {
  if (side.kind === "gateway") stepBorrower(round, { kind: "tunnel-open", id: side.id, own: end });
  else stepLender(round, { kind: "tunnel-end", peer: side.peer, id: side.id, end });
}

function noAnswer(talk: TunnelTalk, nowMs: number): void {
  talk.call = undefined;
  talk.lookAtMs = nowMs + pauseMs(talk.tries);
  talk.tries += 1;
}
