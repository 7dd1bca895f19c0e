/**
 * A restored store meets its hosts: they are the authority for what runs. Done once, in one step, when all of them were
 * heard, so that a VM that moved since the backup is not taken for gone at the one, and for a twin at the other.
 */
import { type HostVm, isFinal } from "@muster/protocol";
import { requeue, takeState } from "../dispatch/attempt-end.ts";
import { isAlive } from "../dispatch/next-order.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { noteReport } from "../inventory/reports.ts";
import { adopt, wantedBy } from "./adoption.ts";
import type { RestoreRecord } from "./restore-record.ts";
import { RESTORE_KEY } from "./restore-record.ts";
import { changeVm, type Round } from "./round.ts";
import type { VmEntry } from "./working-set.ts";

type Sighting = { readonly host: HostEntry; readonly report: HostVm };

export function settleRestored(round: Round): void {
  const { set, turn, policy } = round;
  const { restore } = set;
  if (restore?.state !== "pending") return;
  const settled: RestoreRecord = { ...restore, state: "settled", settledAtMs: turn.nowMs };
  set.restore = settled;
  turn.put(RESTORE_KEY, settled);
  const alive = sightings(round);
  for (const entry of [...set.vms.values()])
    if (!isFinal(entry.record.phase)) settleVm(round, entry, alive.get(entry.record.id) ?? [], restore);
  let adopted = 0;
  let left = 0;
  for (const [vm, seen] of alive)
    for (const { host, report } of seen) {
      const entry = set.vms.has(vm) ? undefined : adopt(round, host.name, report);
      if (entry !== undefined) {
        adopted += 1;
        follow(round, entry, { host, report });
      } else if (host.strays.has(vm)) left += 1;
    }
  const shown = left === 0 ? "" : `; ${left} alive where no record puts them are left alone: see muster doctor`;
  turn.event(
    "site",
    policy.domain,
    `the restored records were compared with all hosts: ${adopted} VMs adopted${shown}`,
  );
}

function sightings({ set }: Round): Map<string, Sighting[]> {
  const alive = new Map<string, Sighting[]>();
  for (const host of set.hosts.values()) {
    if (host.record.fenced) continue;
    for (const report of host.reported.values()) {
      if (!isAlive(report.state)) continue;
      const seen = alive.get(report.vm) ?? [];
      seen.push({ host, report });
      alive.set(report.vm, seen);
    }
  }
  return alive;
}

function settleVm(round: Round, entry: VmEntry, seen: readonly Sighting[], restore: RestoreRecord): void {
  const { record } = entry;
  if (record.place.kind === "peer") return;
  // What is only starting may be what a move prepared, beside the place where it runs.
  const certain = seen.filter(({ report }) => report.state !== "starting");
  const [latest] = [...(certain.length > 0 ? certain : seen)].sort(
    (left, right) => right.report.attempt - left.report.attempt,
  );
  if (latest === undefined) {
    endUnseen(round, entry, restore);
    return;
  }
  changeVm(round, entry, {
    place: { kind: "host", host: latest.host.name, startedOn: "confirmed" },
    attempt: latest.report.attempt,
    attemptFloor: Math.max(record.attemptFloor ?? 0, record.attempt, ...seen.map(({ report }) => report.attempt)),
    wanted: record.wanted === "deleted" ? "deleted" : wantedBy(latest.report),
    phase: "placing",
    reason: undefined,
  });
  follow(round, entry, latest);
}

/** Alive nowhere: what ran has ended since the backup, what was never seen to run waits for a place as it did. */
function endUnseen(round: Round, entry: VmEntry, { takenAtMs }: RestoreRecord): void {
  const { record } = entry;
  const since = new Date(takenAtMs).toISOString();
  if (record.wanted === "deleted") changeVm(round, entry, { phase: "deleted", reason: undefined, address: undefined });
  else if (record.place.kind === "host" && record.place.startedOn === "confirmed")
    changeVm(round, entry, {
      phase: "deleted",
      address: undefined,
      reason: `no host has it any more: it ended after the backup of ${since} was taken`,
    });
  else if (record.place.kind === "host")
    requeue(round, entry, `no host has it after the restore of the backup of ${since}`);
}

function follow(round: Round, entry: VmEntry, { host, report }: Sighting): void {
  noteReport(round, host, report.vm, report);
  takeState(round, entry, host.name, report);
}
