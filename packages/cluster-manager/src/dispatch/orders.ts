/**
 * The outbox: carries the next order of a VM to its host, one command at a time for a VM and a bounded number for a host.
 * Nothing here is stored; what must be told follows from the records and the hosts' reports.
 */
import type { Command, CommandSubject } from "@muster/protocol";
import { COMMANDS_AT_ONCE, COMMANDS_PER_HOST_MAX, COMMANDS_PER_HOST_MIN } from "../core/limits.ts";
import type { VmRecord } from "../core/records.ts";
import type { Round } from "../core/round.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { isMoving } from "../move/moving.ts";
import { guestOf } from "./guest.ts";
import { isLeaseNews, leaseEndMs, leaseTerms } from "./lease-terms.ts";
import { isAlive, isOwn, judgeStray, type Order, orderInPlace } from "./next-order.ts";

/** Whether orders may go to this host: heard, and its own list known, so that nothing is ordered on hearsay (L4). */
export function isReachable(host: HostEntry): boolean {
  return host.liveness === "alive" && host.reconciled && !host.site.held;
}

/** Gives the VM's next order to the host, if there is one and nothing about it is under way. */
export function attend(round: Round, host: HostEntry, vm: string): void {
  const known = host.flights.get(vm);
  // A renewal that was refused waits for its next try, but keeps nothing else waiting.
  const idle = known === undefined || (known.stage === "refused" && known.command.action === "renew");
  if (!idle || !isReachable(host)) return;
  const order = orderFor(round, host, vm);
  if (order === undefined || order.action === known?.command.action || isTaken(host, vm, order, round.turn.nowMs))
    return;
  if (known === undefined && host.flights.size >= commandsPerHost(round)) {
    host.outbox.add(vm);
    return;
  }
  send(round, host, vm, order);
}

/** A host's share of what the site has under way: all at once, the first answer would come about as late as the last. */
function commandsPerHost({ set }: Round): number {
  const share = Math.floor(COMMANDS_AT_ONCE / set.hosts.size);
  return Math.max(COMMANDS_PER_HOST_MIN, Math.min(COMMANDS_PER_HOST_MAX, share));
}

/** Whether the host has taken this very order and is at it. */
function isTaken(host: HostEntry, vm: string, order: Order, nowMs: number): boolean {
  const taken = host.taken.get(vm);
  return taken?.action === order.action && taken.attempt === order.attempt && nowMs < taken.untilMs;
}

/** After an answer: those that waited for room, in the order in which they came. */
export function attendOutbox(round: Round, host: HostEntry): void {
  for (const vm of host.outbox) {
    if (host.flights.size >= commandsPerHost(round)) return;
    host.outbox.delete(vm);
    attend(round, host, vm);
  }
}

/** Everything that concerns the host: what is placed there, and what it reports beyond that. */
export function attendAll(round: Round, host: HostEntry): void {
  if (!isReachable(host)) return;
  for (const vm of [...host.placed.keys()]) attend(round, host, vm);
  for (const vm of [...host.reported.keys()]) if (!host.placed.has(vm)) attend(round, host, vm);
}

function orderFor(round: Round, host: HostEntry, vm: string): Order | undefined {
  const entry = round.set.vms.get(vm);
  const reported = host.reported.get(vm);
  const record = entry?.record;
  // What becomes of it is a matter of the move's own steps; a lease is not to run out meanwhile (B4).
  if (record !== undefined && isMoving(record, host.name, reported?.attempt ?? record.attempt)) {
    const own = entry !== undefined && isOwn(record, host.name, record.attempt) && isLeaseNews(round, entry);
    // What has not come over yet its host knows nothing of, and what it has given up it knows too well.
    const there = reported?.attempt === record.attempt;
    const renewed = own && (there ? isAlive(reported.state) : record.lentMove?.role !== "incoming");
    return renewed ? { action: "renew", attempt: record.attempt } : undefined;
  }
  if (reported !== undefined && (record === undefined || !isOwn(record, host.name, reported.attempt))) {
    const stray = judgeStray(record, host.name, reported);
    if (stray.kind === "order") return stray.order;
  }
  if (entry === undefined || record === undefined || !isOwn(record, host.name, record.attempt)) return undefined;
  if (entry.retryAtMs > round.turn.nowMs) {
    round.set.later.add(vm);
    return undefined;
  }
  const own = reported?.attempt === record.attempt ? reported : undefined;
  return orderInPlace(record, own, entry.askVoid, isLeaseNews(round, entry));
}

/** Sends one command that does not follow from the records: a reboot. */
export function sendOnce(round: Round, host: HostEntry, record: VmRecord): void {
  send(round, host, record.id, { action: "reboot", attempt: record.attempt });
}

function send(round: Round, host: HostEntry, vm: string, order: Order): void {
  const record = round.set.vms.get(vm)?.record;
  const carriesLease = record !== undefined && (order.action === "start" || order.action === "renew");
  const endMs = carriesLease ? leaseEndMs(round, record) : undefined;
  const lease = endMs === undefined ? undefined : leaseTerms(host, endMs);
  // Its next report is on its way; without one the host could not count the lease.
  if (endMs !== undefined && lease === undefined) return;
  const command: Command = {
    id: order.operation?.id ?? round.turn.newId(),
    term: round.policy.term,
    action: order.action,
    vm,
    attempt: order.attempt,
    ...(order.action === "start" && record !== undefined ? { subject: subjectOf(round, record) } : {}),
    ...(lease === undefined ? {} : { lease }),
    ...(order.operation === undefined ? {} : { operation: order.operation.asked }),
  };
  const dueMs = round.turn.nowMs + answerDueMs(round);
  host.flights.set(vm, { command, leaseEndMs: endMs, tries: 1, stage: "sent", dueMs, overtaken: false });
  round.turn.effect({ kind: "command", host: host.name, command });
}

/** The shell answers every command in time; this only bounds the wait for a shell that does not. */
export function answerDueMs(round: Round): number {
  return round.policy.timing.commandTimeoutMs * 2;
}

export function subjectOf(round: Round, record: VmRecord): CommandSubject {
  const guest = guestOf(round, record);
  return {
    name: record.name,
    request: record.request,
    project: record.project,
    owner: record.user,
    spec: record.spec,
    ...(record.origin.kind === "peer" ? { lease: record.origin.exchange, peer: record.origin.peer } : {}),
    ...(guest === undefined ? {} : { guest }),
  };
}
