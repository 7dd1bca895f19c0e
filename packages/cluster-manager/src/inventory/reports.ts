/** What hosts say of attempts: kept as reported, compared with the records, and followed by the next order. */
import type { HostVm, ListedVm, Notice } from "@muster/protocol";
import { adopt } from "../core/adoption.ts";
import type { VmRecord } from "../core/records.ts";
import { noteSubject } from "../core/restored.ts";
import { changeHost, changeVm, type Round } from "../core/round.ts";
import { takeState } from "../dispatch/attempt-end.ts";
import { isAlive, isOwn, judgeStray } from "../dispatch/next-order.ts";
import { attend, attendAll, isReachable } from "../dispatch/orders.ts";
import { isMoving } from "../move/moving.ts";
import type { HostEntry } from "./host-entry.ts";
import { challenge } from "./presence.ts";

/** One attempt as the host has it now, by outcome or notice. */
export function takeReport(round: Round, host: HostEntry, report: HostVm): void {
  const { vm, attempt, state, address, access, reason, operation } = report;
  const known = host.reported.get(vm);
  if (known !== undefined && isOlder(report, known)) return;
  const next = {
    vm,
    attempt,
    state,
    ...(address === undefined ? {} : { address }),
    ...(access === undefined ? {} : { access }),
    ...(reason === undefined ? {} : { reason }),
    ...(operation === undefined ? {} : { operation }),
  };
  host.movedSinceFetch.add(vm);
  noteReport(round, host, vm, next);
  if (!round.set.held) compare(round, host, next);
  attend(round, host, vm);
}

/** A later attempt supersedes an earlier one, and the end of an attempt is final (H5): what is older comes too late. */
function isOlder(report: HostVm, known: HostVm): boolean {
  if (report.attempt !== known.attempt) return report.attempt < known.attempt;
  return !isAlive(known.state) && isAlive(report.state);
}

/** Keeps the report, and the count of what is alive on the host beyond our records. */
export function noteReport(round: Round, host: HostEntry, vm: string, report: HostVm | undefined): void {
  const known = host.reported.get(vm);
  const flight = host.flights.get(vm);
  if (flight !== undefined) flight.overtaken = true;
  host.listMoved = true;
  if (known?.attempt !== report?.attempt || known?.state !== report?.state) host.taken.delete(vm);
  if (report === undefined) host.reported.delete(vm);
  else host.reported.set(vm, report);
  const record = round.set.vms.get(vm)?.record;
  const own =
    report !== undefined &&
    record !== undefined &&
    (isOwn(record, host.name, report.attempt) || isMoving(record, host.name, report.attempt));
  setStray(round, host, vm, report !== undefined && isAlive(report.state) && !own);
}

function setStray(round: Round, host: HostEntry, vm: string, stray: boolean): void {
  if (host.strays.has(vm) === stray) return;
  const { strays } = round.set;
  const hosts = strays.get(vm) ?? new Set<string>();
  if (stray) {
    host.strays.add(vm);
    strays.set(vm, hosts.add(host.name));
  } else {
    host.strays.delete(vm);
    hosts.delete(host.name);
    if (hosts.size === 0) strays.delete(vm);
    round.set.wake();
  }
  host.changed();
  round.turn.contact("host", host.name);
}

/** The host is dead by an admin's word, or gone: what it said of its VMs counts no more (P1). */
export function forgetReports(round: Round, host: HostEntry): void {
  for (const vm of [...host.reported.keys(), ...host.strays]) noteReport(round, host, vm, undefined);
  host.flights.clear();
  host.outbox.clear();
  host.taken.clear();
  host.movedSinceFetch.clear();
  host.inventory = undefined;
  host.changed();
}

/** Desired against reported for one attempt on one host. Orders that follow are given by `attend`. */
function compare(round: Round, host: HostEntry, report: HostVm): void {
  const entry = round.set.vms.get(report.vm);
  if (entry !== undefined && isMoving(entry.record, host.name, report.attempt)) return;
  if (entry !== undefined && isOwn(entry.record, host.name, report.attempt)) {
    takeState(round, entry, host.name, report);
    return;
  }
  const stray = judgeStray(entry?.record, host.name, report);
  switch (stray.kind) {
    case "stranger":
      if (takeIn(round, host, report)) return;
      round.turn.event("host", host.name, `runs VM ${report.vm} that no record knows: adopted, left alone`);
      return;
    case "conflict":
      if (isLeftover(entry?.record, host.name, report)) return;
      round.turn.event(
        "vm",
        report.vm,
        `attempt ${report.attempt} is ${report.state} on ${host.name} as well: left alone`,
      );
      return;
    case "adopt":
      if (entry === undefined) return;
      changeVm(round, entry, {
        phase: "placing",
        place: { kind: "host", host: host.name, startedOn: "confirmed" },
        attempt: report.attempt,
      });
      setStray(round, host, report.vm, false);
      round.turn.event("vm", report.vm, `found on ${host.name} by attempt ${report.attempt}: adopted`);
      takeState(round, entry, host.name, report);
      return;
    default:
      return;
  }
}

/** What is prepared for a move that was given up, and about to be abandoned: it was never told to run. */
function isLeftover(record: VmRecord | undefined, host: string, { attempt, state }: HostVm): boolean {
  const { leftover } = record ?? {};
  return state === "starting" && leftover?.host === host && leftover.attempt === attempt;
}

/** A VM that a restored store does not know, and that its host can tell enough of (H3). */
function takeIn(round: Round, host: HostEntry, report: HostVm): boolean {
  const adopted = adopt(round, host.name, report);
  if (adopted === undefined) return false;
  setStray(round, host, report.vm, false);
  takeState(round, adopted, host.name, report);
  return true;
}

/** VMs whose move ended in this step: what was said meanwhile is looked at now. */
export function reviewMoved(round: Round): void {
  const { afterMove, hosts } = round.set;
  for (const vm of [...afterMove]) {
    afterMove.delete(vm);
    for (const host of hosts.values()) {
      const report = host.reported.get(vm);
      if (report !== undefined) {
        noteReport(round, host, vm, report);
        // Where nothing changed, the reason why it was not moved stays.
        if (!stands(round, host, report)) compare(round, host, report);
      }
      attend(round, host, vm);
    }
  }
}

function stands({ set }: Round, host: HostEntry, { vm, attempt, state }: HostVm): boolean {
  const record = set.vms.get(vm)?.record;
  return record !== undefined && isOwn(record, host.name, attempt) && record.phase === state;
}

/** What its hosts said of a VM is judged again now that its record is another: they have no news of it, and say nothing. */
export function judgeAgain(round: Round, vm: string): void {
  for (const name of [...(round.set.strays.get(vm) ?? [])]) {
    const host = round.set.hosts.get(name);
    const report = host?.reported.get(vm);
    if (host === undefined || report === undefined || !isReachable(host)) continue;
    compare(round, host, report);
    attend(round, host, vm);
  }
}

/** The whole list of a host: what is missing from it, and not under way, is not there. */
export function takeInventory(
  round: Round,
  host: HostEntry,
  list: { readonly bootId: string; readonly digest: string; readonly vms: readonly ListedVm[] },
): void {
  const before = new Set([...host.reported.keys(), ...host.strays]);
  host.inventory = { bootId: list.bootId, digest: list.digest };
  host.fetch.tries = 0;
  host.changed();
  for (const vm of host.movedSinceFetch) before.delete(vm);
  for (const { subject, ...report } of list.vms) {
    before.delete(report.vm);
    noteSubject(round, report.vm, subject);
    if (host.movedSinceFetch.has(report.vm)) continue;
    const known = host.reported.get(report.vm);
    if (known !== undefined && sameReport(known, report) && !isInDoubt(round, report.vm)) continue;
    noteReport(round, host, report.vm, report);
    if (!round.set.held) compare(round, host, report);
  }
  for (const vm of before) noteReport(round, host, vm, undefined);
  // What was left out for being newer is compared with the next list.
  host.listMoved = host.movedSinceFetch.size > 0;
  host.movedSinceFetch.clear();
  if (!round.set.held) for (const vm of [...host.placed.keys()]) if (!host.reported.has(vm)) takeAbsence(round, vm);
  attendAll(round, host);
  round.set.wake();
}

function sameReport(left: HostVm, right: HostVm): boolean {
  return (
    left.attempt === right.attempt &&
    left.state === right.state &&
    left.address === right.address &&
    left.access?.host === right.access?.host &&
    left.access?.port === right.access?.port &&
    left.reason === right.reason &&
    left.operation?.id === right.operation?.id
  );
}

function isInDoubt(round: Round, vm: string): boolean {
  return round.set.vms.get(vm)?.record.phase === "in-doubt";
}

/** Its host is back and does not have it: a start goes out again; what ran is closed by a `void` before it is moved (P1). */
function takeAbsence(round: Round, vm: string): void {
  const entry = round.set.vms.get(vm);
  if (entry === undefined) return;
  const { record } = entry;
  if (record.place.kind !== "host" || record.place.startedOn !== "ordered" || record.phase !== "in-doubt") return;
  changeVm(round, entry, { phase: "placing", reason: undefined });
}

/**
 * Notices, oldest first; repeats are told by the number taken of this boot. Returns the number to acknowledge: the shell
 * answers only after the changes of this step are stored.
 */
export function takeNotices(round: Round, host: HostEntry, bootId: string, notices: readonly Notice[]): number {
  // Of a start that is over, or that is not known yet: its host says hello to us first, and then everything again.
  if (bootId !== host.bootId) {
    challenge(host);
    return 0;
  }
  const taken = host.record.notices;
  const had = taken?.bootId === bootId ? taken.sequence : 0;
  let sequence = had;
  for (const notice of notices) {
    if (notice.sequence <= had) continue;
    sequence = Math.max(sequence, notice.sequence);
    takeReport(round, host, notice);
  }
  if (sequence !== had || taken?.bootId !== bootId) changeHost(round, host, { notices: { bootId, sequence } });
  return sequence;
}
