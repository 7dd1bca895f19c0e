/** What follows when an attempt is over, or its host said where it stands: the record takes it in. */
import { type HostVm, refusal } from "@muster/protocol";
import { ATTEMPTS_MAX, AVOID_MS, FAILURES_MAX, pauseMs, STABLE_MS } from "../core/limits.ts";
import type { VmRecord } from "../core/records.ts";
import { attemptBase } from "../core/restored.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { keptAccess } from "../networks/access.ts";
import { giveUpOperation, takeResult, WITHOUT_GUEST } from "../operations/operation-end.ts";
import { pendingOperation } from "../operations/operation-record.ts";

/** Takes in what the VM's own host says of its own attempt. */
export function takeState(round: Round, entry: VmEntry, host: string, reported: HostVm): void {
  takeResult(round, entry, host, reported);
  const { record } = entry;
  const deleting = record.wanted === "deleted";
  switch (reported.state) {
    case "starting":
      entry.askVoid = false;
      changeVm(round, entry, {
        phase: deleting ? "deleting" : "placing",
        ...(record.phase === "in-doubt" ? { reason: undefined } : {}),
      });
      return;
    case "running":
    case "paused":
    case "stopped":
      noteSetback(round, entry, reported);
      entry.askVoid = false;
      changeVm(round, entry, {
        phase: deleting ? "deleting" : reported.state,
        place: { kind: "host", host, startedOn: "confirmed" },
        address: reported.address ?? record.address,
        access: accessSaid(record, reported),
        reason: reported.reason,
        expiresAtMs: undefined,
        ...(reported.state === "stopped" ? {} : { saved: undefined }),
      });
      return;
    default:
      endAttempt(round, entry, host, reported);
  }
}

/** Who says nothing of the address says nothing of the way to it either: an answer to an order may be that short. */
function accessSaid({ access }: VmRecord, reported: HostVm): VmRecord["access"] {
  return reported.address === undefined ? access : keptAccess(access, reported.access);
}

/** A VM that stops by itself is started again on its host, but ever more slowly while it does not last. */
function noteSetback(round: Round, entry: VmEntry, reported: HostVm): void {
  const { record } = entry;
  const { nowMs } = round.turn;
  const byItself =
    reported.state === "stopped" &&
    record.phase === "running" &&
    record.wanted === "running" &&
    pendingOperation(record) === undefined;
  if (!byItself) return;
  if (nowMs - record.changedAtMs >= STABLE_MS) entry.setbacks = 0;
  entry.retryAtMs = nowMs + (entry.setbacks === 0 ? 0 : pauseMs(entry.setbacks));
  entry.setbacks += 1;
  round.set.later.add(record.id);
}

/** The host's own word that this attempt does not run and never will: the proof that P1 asks for. */
function endAttempt(round: Round, entry: VmEntry, host: string, reported: HostVm): void {
  const { record } = entry;
  const { nowMs } = round.turn;
  entry.askVoid = false;
  giveUpOperation(round, entry, `${host} has the VM no more`);
  if (record.wanted === "deleted") {
    changeVm(round, entry, { phase: "deleted", reason: undefined, address: undefined });
    return;
  }
  avoid(entry, host, nowMs);
  const said = reported.reason === undefined ? "" : `: ${reported.reason}`;
  const ran = record.place.kind === "host" && record.place.startedOn === "confirmed";
  if (reported.state === "void") {
    requeue(round, entry, ran ? `${host} does not have it any more${said}` : `${host} turned it down${said}`);
    return;
  }
  const stable = record.phase === "running" && nowMs - record.changedAtMs >= STABLE_MS;
  const before = stable ? 0 : (record.failures ?? 0);
  if (ran) {
    // It had started: that its host or hypervisor went down under it says nothing against the VM.
    requeue(round, entry, `${host} has it no more${said}`, before);
    return;
  }
  const failures = before + 1;
  const what = reported.state === "failed" ? `start failed on ${host}${said}` : `${host} has it no more${said}`;
  if (failures < (isFetched(round, record) ? 1 : FAILURES_MAX)) {
    requeue(round, entry, what, failures);
    return;
  }
  refuse(
    round,
    entry,
    "start-failed",
    `${what}; ${failures === 1 ? "the attempt" : `${failures} attempts`} failed: see the host manager's log`,
    failures,
  );
}

/** A peer's VM whose image comes from the peer as well: rather than fetched again, it is given back, for the peer to go elsewhere. */
function isFetched({ lender }: Round, { origin }: VmRecord): boolean {
  return origin.kind === "peer" && lender.find(origin.peer, origin.exchange)?.hold?.image !== undefined;
}

/** Back into the queue at its old age; the next place gets the next attempt (H5). */
export function requeue(round: Round, entry: VmEntry, reason: string, failures = entry.record.failures): void {
  if (entry.record.attempt - attemptBase(entry.record) >= ATTEMPTS_MAX) {
    refuse(round, entry, "attempts-used-up", `${reason}; ${ATTEMPTS_MAX} attempts are used up`, failures);
    return;
  }
  giveUpOperation(round, entry, reason);
  entry.triedEpoch = -1;
  entry.setbacks = 0;
  entry.retryAtMs = 0;
  changeVm(round, entry, {
    ...WITHOUT_GUEST,
    phase: "queued",
    place: { kind: "none" },
    address: undefined,
    reason: reason.slice(0, 500),
    failures,
    evicted: undefined,
  });
}

function refuse(round: Round, entry: VmEntry, reason: string, message: string, failures: number | undefined): void {
  const refused = refusal("unavailable", reason, message);
  changeVm(round, entry, {
    phase: "refused",
    address: undefined,
    reason: refused.message,
    refusal: refused,
    failures,
  });
}

/** Leaves a host out for this VM for a while, so that the next attempt goes elsewhere where there is an elsewhere. */
export function avoid(entry: VmEntry, host: string, nowMs: number): void {
  for (const [other, untilMs] of entry.avoid) if (untilMs <= nowMs) entry.avoid.delete(other);
  entry.avoid.set(host, nowMs + AVOID_MS);
}
