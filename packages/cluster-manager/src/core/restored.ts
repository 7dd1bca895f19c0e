/** What a restored store, and one that went back unnoticed, ask of the core: listen first, and never use a number twice. */
import type { CommandSubject } from "@muster/protocol";
import type { HostEntry } from "../inventory/host-entry.ts";
import type { RequestRecord, VmRecord } from "./records.ts";
import { changeHost, type Round } from "./round.ts";
import type { VmEntry } from "./working-set.ts";

/** Attempts of one life of a store: a restore goes on above the next thousand. */
const ATTEMPTS_OF_A_STORE = 1_000;

/** Digest of a request that is known from its VMs alone. */
export const ADOPTED_DIGEST = "adopted";

/** Where the count of the attempts that a VM may use up begins. */
export function attemptBase({ attempt, attemptFloor = 0 }: VmRecord): number {
  const within = attempt > attemptFloor ? attempt - 1 : attempt;
  return Math.floor(within / ATTEMPTS_OF_A_STORE) * ATTEMPTS_OF_A_STORE;
}

/** How many of the attempts of this life of the store are given out, to moves that were given up as well. */
export function attemptsGiven({ attempt, attemptFloor = 0 }: VmRecord): number {
  return Math.max(attempt, attemptFloor) % ATTEMPTS_OF_A_STORE;
}

/** The number of its next attempt: above all that were given out, and is given out with the record that says so (H5). */
export function nextAttempt({ attempt, attemptFloor = 0 }: VmRecord): number {
  return Math.max(attempt, attemptFloor) + 1;
}

/** P1: it may run at a peer under a lease that this store knows nothing of; its end is waited for. */
export function isHeldBack({ set, turn }: Round, entry: VmEntry): boolean {
  const { notBeforeMs } = entry.record;
  if (notBeforeMs === undefined || notBeforeMs <= turn.nowMs) return false;
  entry.retryAtMs = notBeforeMs;
  set.later.add(entry.record.id);
  return true;
}

/** H1: a host that obeys a higher term knows what this store does not: nobody is told anything until that is cleared up. */
export function noteNewerTerm(round: Round, host: HostEntry, term: number): void {
  const { set, turn, policy } = round;
  if (term <= policy.term || host.record.fenced || set.newerTerms.get(host.name) === term) return;
  set.newerTerms.set(host.name, term);
  turn.event(
    "site",
    host.name,
    `${host.name} has obeyed term ${term}, above our ${policy.term}: an older store was put back, or another one is in ` +
      "use; nothing is placed. See muster doctor",
  );
}

/** The same, told by a refusal, which may not say by which term. */
export function noteStale(round: Round, host: HostEntry): void {
  noteNewerTerm(round, host, Math.max(host.capacity?.termObeyed ?? 0, round.policy.term + 1));
}

/** It obeys us after all, is declared dead, or gone. */
export function noteTermObeyed({ set }: Round, host: HostEntry): void {
  if (!set.newerTerms.delete(host.name) || set.newerTerms.size > 0) return;
  // What was heard meanwhile was compared with nothing: every list is read once more.
  for (const other of set.hosts.values()) {
    other.reported.clear();
    other.inventory = undefined;
    other.fetch.dueMs = 0;
    other.changed();
  }
  set.wake();
}

/**
 * After a restore a host that the backup does not know is let in again: it has an account here, which only an admin's
 * token makes, and removing a host takes it away. Nothing is placed there before an admin says so.
 */
export function letIn(round: Round, name: string): HostEntry | undefined {
  const { set, turn } = round;
  if (set.restore?.state !== "pending") return undefined;
  const host = set.putHost({ name, enrolledAtMs: turn.nowMs, draining: true, fenced: false });
  changeHost(round, host, {});
  turn.event("host", name, "was let in after the backup was taken: let in again, and draining until it is undrained");
  turn.contact("host", name);
  return host;
}

/** Keeps what a host says of a VM that no record knows. */
export function noteSubject({ set }: Round, vm: string, subject: CommandSubject | undefined): void {
  if (set.vms.has(vm)) set.subjects.delete(vm);
  else if (subject !== undefined) set.subjects.set(vm, subject);
}

/** B1: a request of which only its VMs were found is taken for the one that is repeated under its id. */
export function isAdoptedFrom(known: RequestRecord, user: string, project: string): boolean {
  return known.digest === ADOPTED_DIGEST && known.user === user && known.project === project;
}
