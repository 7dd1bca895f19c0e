/** VMs that run on hosts and that a restored store does not know: taken in from what their hosts say of them (H3). */
import type { CommandSubject, HostVm, WantedState } from "@muster/protocol";
import type { RequestRecord } from "./records.ts";
import type { RestoreRecord } from "./restore-record.ts";
import { ADOPTED_DIGEST } from "./restored.ts";
import { addVm, changeVm, type Round } from "./round.ts";
import type { VmEntry } from "./working-set.ts";

/** What clocks of managers may have differed by when ids were made and the backup was taken. */
const SLACK_MS = 600_000;
const LEASE_MS = 3_600_000;
const NAME_LENGTH_MAX = 63;

/**
 * Makes the record of a VM that began its life between backup and restore, as its id tells. What is older was forgotten by
 * the site before the backup, what is younger is of another making, and VMs of peers belong to a lease: they are left
 * alone and shown.
 */
export function adopt(round: Round, host: string, report: HostVm): VmEntry | undefined {
  const { set, turn } = round;
  const subject = set.subjects.get(report.vm);
  const { restore } = set;
  if (restore === undefined || subject === undefined || subject.lease !== undefined) return undefined;
  const bornAtMs = birthOf(report.vm);
  if (bornAtMs === undefined || !isBetween(restore, bornAtMs)) return undefined;
  set.subjects.delete(report.vm);
  const { name, project, owner, request, spec } = subject;
  dropTwin(round, subject, report.vm);
  const free =
    set.named(project, name) === undefined ? name : `${name.slice(0, NAME_LENGTH_MAX - 9)}-${report.vm.slice(-8)}`;
  const entry = addVm(round, {
    id: report.vm,
    name: free,
    request,
    project,
    user: owner,
    spec,
    priority: 0,
    burst: "never",
    leaseMs: LEASE_MS,
    origin: { kind: "local" },
    phase: "placing",
    wanted: wantedBy(report),
    place: { kind: "host", host, startedOn: "confirmed" },
    attempt: report.attempt,
    attemptFloor: Math.max(restore.attemptFloor, report.attempt),
    queueOrder: set.nextOrder(),
    createdAtMs: bornAtMs,
    changedAtMs: turn.nowMs,
  });
  putRequest(round, subject, report.vm, bornAtMs);
  turn.event("vm", report.vm, `${free} was found on ${host}, begun after the backup: adopted`);
  return entry;
}

/** What is wanted of a VM whose user's last word is not known: that it stays as it is. */
export function wantedBy({ state }: HostVm): WantedState {
  return state === "paused" || state === "stopped" ? state : "running";
}

/** Its request was repeated to the restored site, which did not know it yet: the VM made for that was never placed. */
function dropTwin(round: Round, { project, name, request }: CommandSubject, vm: string): void {
  const { set, turn } = round;
  const twin = set.vms.get(set.named(project, name) ?? "");
  const known = set.requests.get(request);
  if (twin === undefined || known === undefined || twin.record.request !== request) return;
  if (twin.record.phase !== "queued" || twin.record.attempt > 0) return;
  changeVm(round, twin, { phase: "cancelled", reason: `it runs already, as ${vm}` });
  const record: RequestRecord = { ...known, vms: known.vms.map((id) => (id === twin.record.id ? vm : id)) };
  set.requests.set(request, record);
  turn.put(`request/${request}`, record);
}

/** The request that it came from, so that a repeat of it is answered with what runs (B1). */
function putRequest(round: Round, { request, owner, project }: CommandSubject, vm: string, bornAtMs: number): void {
  const { set, turn } = round;
  const known = set.requests.get(request);
  if (known?.vms.includes(vm) === true) return;
  if (known !== undefined && known.digest !== ADOPTED_DIGEST) return;
  const record: RequestRecord = known ?? {
    id: request,
    digest: ADOPTED_DIGEST,
    user: owner,
    project,
    vms: [],
    acceptedAtMs: bornAtMs,
  };
  const whole = { ...record, vms: [...record.vms, vm].sort() };
  set.requests.set(request, whole);
  turn.put(`request/${request}`, whole);
}

function isBetween({ takenAtMs, restoredAtMs }: RestoreRecord, atMs: number): boolean {
  return atMs >= takenAtMs - SLACK_MS && atMs <= restoredAtMs + SLACK_MS;
}

/** When an id was made: the first 48 bits of a UUIDv7 (RFC 9562 section 5.7). */
export function birthOf(id: string): number | undefined {
  return id[14] === "7" ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : undefined;
}
