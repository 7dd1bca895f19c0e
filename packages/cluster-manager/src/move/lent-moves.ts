/**
 * The lender's part in a move between sites: a gate. The borrower steers; each step goes to the host of the leased VM under our
 * term and our attempt (H1, H5), and the host's answer is the borrower's. Nothing is repeated here: who wants to know asks again.
 */
import type { LenderEffect } from "@muster/broker";
import {
  isFinal,
  MOVE_ROLES,
  type Move,
  type MoveState,
  type MoveStep,
  type PeerMove,
  type Refusal,
  refusal,
} from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { leaseEndMs, leaseTerms } from "../dispatch/lease-terms.ts";
import { isReachable, subjectOf } from "../dispatch/orders.ts";
import { moveStateForPeer, reasonForPeer, refusalForPeer } from "../dispatch/told-to-peers.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { whyBusy } from "../operations/operation-rules.ts";
import type { LentStep } from "./lent-step.ts";

/** How long the host keeps a question open before it says how the step stands. */
const WAIT_MS = 2_000;

/** Takes a step that a borrower asks for; `entry` is the VM of its lease, where there is one. */
export function takeLentStep(
  round: Round,
  { ticket, record: lend, step }: Extract<LenderEffect, { kind: "move" }>,
  entry: VmEntry | undefined,
): void {
  const incoming = lend.hold?.incoming === true;
  const asked = entry === undefined ? gone(lend.id) : ask(round, entry, step, incoming, ticket);
  if (asked !== undefined) round.turn.answer(ticket, { kind: "refused", refusal: asked });
}

function gone(exchange: string): Refusal {
  return refusal("conflict", "exchange-over", `nothing runs under exchange ${exchange} here any more`, { field: "id" });
}

function ask(round: Round, entry: VmEntry, step: PeerMove, incoming: boolean, ticket: number): Refusal | undefined {
  const { record } = entry;
  if (isFinal(record.phase) || record.wanted === "deleted") return gone(step.id);
  const host = record.place.kind === "host" ? round.set.hosts.get(record.place.host) : undefined;
  if (host === undefined)
    return refusal("resource-constraint", "no-capacity", reasonForPeer(record) ?? "no host takes it now", {
      retryAfterMs: 2_000,
    });
  if (!isReachable(host)) return unavailable("its host is not heard now");
  const obstacle = whyNot(entry, host, step.step, incoming);
  if (obstacle !== undefined) return obstacle;
  const lease = step.step === "prepare" ? leaseFor(round, entry, host) : {};
  if (lease === undefined) return unavailable("its host has not reported yet");
  if (step.step === "begin" && record.lentMove === undefined)
    changeVm(round, entry, { lentMove: { role: "outgoing" } });
  const before = round.set.lentSteps.get(record.id);
  if (before !== undefined) answer(round, before, { id: before.id, stage: "underway" });
  round.set.lentSteps.set(record.id, { ticket, exchange: step.id, id: step.move, step: step.step, host: host.name });
  const { link, xml, cookie } = step;
  const move: Move = {
    id: step.move,
    term: round.policy.term,
    step: step.step,
    vm: record.id,
    attempt: record.attempt,
    waitMs: WAIT_MS,
    ...(step.step === "prepare" ? { subject: subjectOf(round, record) } : {}),
    ...lease,
    ...(link === undefined ? {} : { link }),
    ...(xml === undefined ? {} : { xml }),
    ...(cookie === undefined ? {} : { cookie }),
  };
  round.turn.effect({ kind: "move", host: host.name, move, timeoutMs: WAIT_MS + round.policy.timing.commandTimeoutMs });
  return undefined;
}

function leaseFor(round: Round, { record }: VmEntry, host: HostEntry): Pick<Move, "lease"> | undefined {
  const endMs = leaseEndMs(round, record);
  const lease = endMs === undefined ? undefined : leaseTerms(host, endMs);
  return lease === undefined ? undefined : { lease };
}

function whyNot({ record }: VmEntry, host: HostEntry, step: MoveStep, incoming: boolean): Refusal | undefined {
  const arrives = MOVE_ROLES[step] === "destination";
  if (arrives && !incoming)
    return refusal("bad-request", "wrong-role", "this lease is not for a VM that comes over alive", { field: "step" });
  if (!arrives && record.lentMove?.role === "incoming")
    return refusal("conflict", "not-running", "the VM has not come over yet", { field: "step" });
  if (step !== "begin" && step !== "prepare") return undefined;
  if (host.capacity?.moves !== true)
    return refusal("not-acceptable", "cannot-move", "the VM's host does not move VMs alive");
  if (step === "prepare" || record.lentMove !== undefined) return undefined;
  if (record.phase !== "running" || record.wanted !== "running")
    return refusal("conflict", "not-running", `the VM is ${record.phase}: only a running VM is moved alive`);
  return whyBusy(record);
}

function unavailable(message: string): Refusal {
  return refusal("unavailable", "host-not-heard", message, { retryAfterMs: 1_000 });
}

/** The host's answer to such a step; `false` where it was asked for something else. */
export function takeLentAnswer(round: Round, event: Extract<CoreEvent, { kind: "move-answered" }>): boolean {
  const { lentSteps, vms } = round.set;
  const asked = lentSteps.get(event.vm);
  const entry = vms.get(event.vm);
  if (asked === undefined || asked.id !== event.id || asked.step !== event.step || asked.host !== event.host)
    return false;
  lentSteps.delete(event.vm);
  const { end } = event;
  if (end.kind === "refused")
    round.turn.answer(asked.ticket, { kind: "refused", refusal: refusalForPeer(end.refusal) });
  else {
    const state: MoveState = end.kind === "state" ? end.state : { id: asked.id, stage: "underway" };
    if (entry !== undefined) settle(round, entry, asked, state);
    answer(round, asked, state);
  }
  return true;
}

function answer(round: Round, { ticket, exchange }: LentStep, state: MoveState): void {
  const body = { id: exchange, state: moveStateForPeer(state) };
  round.turn.answer(ticket, { kind: "burst", answer: { kind: "move-stepped", body } });
}

/** What the answer makes of the VM: stored in the same step, before the borrower hears it (L3). */
function settle(round: Round, entry: VmEntry, { step, host }: LentStep, { stage, address }: MoveState): void {
  const { record } = entry;
  if (record.wanted === "deleted") return;
  const ends = (reason: string) =>
    changeVm(round, entry, { phase: "deleted", wanted: "deleted", address: undefined, lentMove: undefined, reason });
  if (stage === "finished") {
    changeVm(round, entry, {
      phase: "running",
      place: { kind: "host", host, startedOn: "confirmed" },
      address: address ?? record.address,
      reason: undefined,
      lentMove: undefined,
    });
  } else if (stage === "abandoned") ends("its move was given up");
  else if (stage === "confirmed") ends("it went home");
  else if (stage === "resumed" || (stage === "failed" && step === "resume"))
    changeVm(round, entry, { lentMove: undefined });
  else return;
  round.set.afterMove.add(record.id);
}
