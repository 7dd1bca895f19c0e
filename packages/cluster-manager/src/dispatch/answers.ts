/** How commands end: answered, refused, or unknown, in which case the same command goes out again under its id (H2). */
import type { CommandOutcome, Refusal } from "@muster/protocol";
import type { CommandEnd } from "../core/event.ts";
import { COMMAND_TRIES_MAX, ORDER_PATIENCE_MS, pauseMs } from "../core/limits.ts";
import type { VmRecord } from "../core/records.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { noteReport, takeReport } from "../inventory/reports.ts";
import { operationRefused } from "../operations/operation-end.ts";
import { pendingOperation } from "../operations/operation-record.ts";
import { avoid } from "./attempt-end.ts";
import type { Flight } from "./flight.ts";
import { leaseTerms } from "./lease-terms.ts";
import { isAlive, isOwn } from "./next-order.ts";
import { answerDueMs, attend, attendOutbox, isReachable } from "./orders.ts";

export function endCommand(round: Round, host: HostEntry, id: string, end: CommandEnd): void {
  const flight = host.flights.byId(id);
  if (end.kind === "unknown") {
    if (flight !== undefined && flight.stage === "sent") rest(round, host, flight);
    return;
  }
  if (flight === undefined) {
    // A command of before a restart of ours: what it says of the attempt counts all the same.
    if (end.kind === "outcome") takeUnlessOlder(round, host, end.outcome);
    return;
  }
  host.flights.delete(flight.command.vm);
  if (end.kind === "outcome") takeOutcome(round, host, flight, end.outcome);
  else takeRefusal(round, host, flight, end.refusal);
  attend(round, host, flight.command.vm);
  attendOutbox(round, host);
}

function rest(round: Round, host: HostEntry, flight: Flight): void {
  flight.stage = "resting";
  host.flights.defer(flight, round.turn.nowMs + pauseMs(flight.tries - 1));
}

function takeOutcome(round: Round, host: HostEntry, flight: Flight, outcome: CommandOutcome): void {
  const { vm, action } = flight.command;
  if (action === "settle") {
    host.reported.delete(vm);
    return;
  }
  const entry = round.set.vms.get(vm);
  if (entry !== undefined && action === "void") entry.askVoid = false;
  if (entry !== undefined && action !== "start" && action !== "renew") entry.setbacks = 0;
  const { attempt } = flight.command;
  if (entry !== undefined && flight.leaseEndMs !== undefined && isAlive(outcome.state))
    entry.leaseTold = { attempt, endMs: flight.leaseEndMs };
  const before = host.reported.get(vm);
  const isOver = action === "operate" && (entry === undefined || !isPending(entry.record, flight.command.id));
  if (action !== "renew" && !isOver && before?.attempt === attempt && before.state === outcome.state)
    host.taken.set(vm, { action, attempt, untilMs: round.turn.nowMs + ORDER_PATIENCE_MS });
  if (flight.overtaken) takeUnlessOlder(round, host, outcome);
  else takeReport(round, host, outcome);
}

/** An answer that may be older than what the host said since: only news, or the end of the attempt, counts. */
function takeUnlessOlder(round: Round, host: HostEntry, outcome: CommandOutcome): void {
  if (host.reported.get(outcome.vm)?.attempt === outcome.attempt && isAlive(outcome.state)) return;
  takeReport(round, host, outcome);
}

/**
 * A refusal moves nothing by itself. A start that was refused is voided before another host is tried (H5); a host that does
 * not know the attempt is asked to void it, which closes the matter; everything else is tried again later.
 */
function takeRefusal(round: Round, host: HostEntry, flight: Flight, refused: Refusal): void {
  const { vm, action, attempt } = flight.command;
  const entry = round.set.vms.get(vm);
  if (action === "reboot") {
    round.turn.event("vm", vm, `${host.name} did not reboot it: ${refused.message}`.slice(0, 500));
    return;
  }
  if (refused.kind === "stale-term") round.turn.event("site", host.name, `${host.name} obeys a newer leader`);
  // What is not to be tried again has touched nothing; everything else is asked again under the same id.
  if (action === "operate" && refused.kind !== "unavailable" && refused.kind !== "stale-term")
    operationRefused(round, host, flight.command.id, vm, refused);
  const own = entry !== undefined && isOwn(entry.record, host.name, attempt) && action !== "renew";
  const unknownThere = refused.kind === "item-not-found" && action !== "void";
  if (unknownThere) noteReport(round, host, vm, undefined);
  if (own && action === "start" && refused.kind !== "stale-term" && isFirstStart(host, vm, attempt)) {
    entry.askVoid = true;
    avoid(entry, host.name, round.turn.nowMs);
    changeVm(round, entry, { reason: `${host.name} refused to start it: ${refused.message}`.slice(0, 500) });
    return;
  }
  if (unknownThere) return;
  if (action === "operate" && !(own && isPending(entry.record, flight.command.id))) return;
  if (own) changeVm(round, entry, { reason: `${host.name} refused to ${action} it: ${refused.message}`.slice(0, 500) });
  flight.stage = "refused";
  flight.dueMs = round.turn.nowMs + pauseMs(flight.tries);
  host.flights.set(vm, flight);
}

function isPending(record: VmRecord, id: string): boolean {
  return pendingOperation(record)?.id === id;
}

function isFirstStart(host: HostEntry, vm: string, attempt: number): boolean {
  return host.reported.get(vm)?.attempt !== attempt;
}

/** Sends again what is due, and gives up starts of hosts that were silent for too long in favour of a `void`. */
export function retryFlights(round: Round, host: HostEntry): void {
  for (const flight of host.flights.due(round.turn.nowMs)) {
    // Moved on first, so that one that can do nothing yet is not due for ever.
    host.flights.defer(flight, round.turn.nowMs + pauseMs(flight.tries));
    if (flight.stage === "sent") rest(round, host, flight);
    else if (flight.stage === "refused") retryRefused(round, host, flight);
    else resend(round, host, flight);
  }
}

function resend(round: Round, host: HostEntry, flight: Flight): void {
  const { command } = flight;
  const heard = host.liveness === "alive" || host.liveness === "suspect";
  if (flight.tries >= COMMAND_TRIES_MAX) {
    if (!isReachable(host)) return;
    // Heard again after a long silence: think again, and ask for the attempt to be voided where it was a start.
    host.flights.delete(command.vm);
    const entry = round.set.vms.get(command.vm);
    if (entry !== undefined && command.action === "start" && isOwn(entry.record, host.name, command.attempt))
      entry.askVoid = isFirstStart(host, command.vm, command.attempt);
    attend(round, host, command.vm);
    return;
  }
  if (!heard || host.site.held) return;
  flight.tries += 1;
  flight.stage = "sent";
  host.flights.defer(flight, round.turn.nowMs + answerDueMs(round));
  // The same end, from the last report on: less of it is left than at the try before.
  const lease = flight.leaseEndMs === undefined ? undefined : leaseTerms(host, flight.leaseEndMs);
  if (lease !== undefined) flight.command = { ...command, lease };
  round.turn.effect({ kind: "command", host: host.name, command: flight.command });
}

/** The same order under a new id, if it is still the order: a host answers a known id as before (H2). */
function retryRefused(round: Round, host: HostEntry, flight: Flight): void {
  if (!isReachable(host)) return;
  const { vm } = flight.command;
  host.flights.delete(vm);
  attend(round, host, vm);
  const next = host.flights.get(vm);
  if (next !== undefined && next.command.action === flight.command.action)
    host.flights.set(vm, { ...next, tries: flight.tries + 1 });
}
