/** Which operations a VM takes now. Every refusal says what to do first. */
import {
  add,
  isFinal,
  lacking,
  RESOURCE_WORDS,
  type Refusal,
  refusal,
  SNAPSHOTS_MAX,
  type VmOperation,
  VOLUMES_MAX,
} from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { Round } from "../core/round.ts";
import { pendingOperation } from "./operation-record.ts";
import { addedBy } from "./taken-room.ts";

/** Why nobody but the one who ends it may do anything with the VM now: one operation at a time. */
export function whyBusy(record: Pick<VmRecord, "name" | "operations">): Refusal | undefined {
  const pending = pendingOperation(record);
  if (pending === undefined) return undefined;
  return refusal("conflict", "busy", `${record.name}: ${pending.operation.kind} is under way, wait for its end`, {
    retryAfterMs: 1_000,
  });
}

export function refuseOperation(round: Round, record: VmRecord, operation: VmOperation): Refusal | undefined {
  return (
    refuseState(record, operation) ??
    refuseSnapshots(record, operation) ??
    refuseVolumes(record, operation) ??
    refuseSize(record, operation) ??
    refuseRoom(round, record, operation)
  );
}

function refuseState(record: VmRecord, operation: VmOperation): Refusal | undefined {
  const { name, phase, wanted, place, move, evicted, saved } = record;
  if (isFinal(phase)) return refusal("conflict", "ended", `${name} is ${phase}: create a new one`);
  if (wanted === "deleted" || evicted === true)
    return refusal("conflict", "being-deleted", `${name} is being taken off its host`);
  if (move !== undefined)
    return refusal("conflict", "busy", `${name} is being moved to ${move.to}: wait for its end`, {
      retryAfterMs: 1_000,
    });
  if (place.kind === "peer")
    return refusal("not-acceptable", "at-peer", `${name} runs at ${place.peer}: it is only started and stopped there`);
  const busy = whyBusy(record);
  if (busy !== undefined) return busy;
  if (place.kind !== "host" || (phase !== "running" && phase !== "paused" && phase !== "stopped"))
    return refusal("conflict", "not-settled", `${name} is ${phase}: wait until it runs or is stopped`);
  if (phase !== wanted)
    return refusal("conflict", "busy", `${name} is ${phase} and is to be ${wanted}: wait until it is`, {
      retryAfterMs: 1_000,
    });
  if (saved === true)
    return refusal("conflict", "is-saved", `${name} is saved: start it first, its memory belongs to its disks`);
  if (operation.kind === "save" && phase === "stopped")
    return refusal("conflict", "is-stopped", `${name} is stopped: there is no memory to save`);
  return undefined;
}

function refuseSnapshots({ name, snapshots = [] }: VmRecord, operation: VmOperation): Refusal | undefined {
  switch (operation.kind) {
    case "create-snapshot":
      if (snapshots.some((one) => one.name === operation.name))
        return refusal("conflict", "name-taken", `${name} has a snapshot ${operation.name} already`, { field: "name" });
      if (snapshots.length >= SNAPSHOTS_MAX)
        return refusal("policy-violation", "snapshots-limit", `${name} has ${snapshots.length} snapshots: delete one`);
      return undefined;
    case "revert-snapshot":
    case "delete-snapshot":
      return snapshots.some((one) => one.name === operation.name)
        ? undefined
        : refusal("item-not-found", "unknown-snapshot", `${name} has no snapshot ${operation.name}`, { field: "name" });
    case "save":
      return undefined;
    default:
      // A snapshot is of all disks as they were: going back to it would not know of others.
      return snapshots.length === 0
        ? undefined
        : refusal("conflict", "has-snapshots", `${name} has snapshots of its disks as they are: delete them first`);
  }
}

function refuseVolumes({ name, volumes = [] }: VmRecord, operation: VmOperation): Refusal | undefined {
  if (operation.kind === "create-volume") {
    if (volumes.some((one) => one.name === operation.name))
      return refusal("conflict", "name-taken", `${name} has a volume ${operation.name} already`, { field: "name" });
    return volumes.length < VOLUMES_MAX
      ? undefined
      : refusal("policy-violation", "volumes-limit", `${name} has ${volumes.length} volumes: delete one`);
  }
  if (!("name" in operation) || !operation.kind.endsWith("-volume")) return undefined;
  const volume = volumes.find((one) => one.name === operation.name);
  if (volume === undefined)
    return refusal("item-not-found", "unknown-volume", `${name} has no volume ${operation.name}`, { field: "name" });
  if (operation.kind === "attach-volume" && volume.attached)
    return refusal("conflict", "is-attached", `${operation.name} is attached to ${name} already`);
  if (operation.kind === "detach-volume" && !volume.attached)
    return refusal("conflict", "not-attached", `${operation.name} is not attached to ${name}`);
  if (operation.kind === "delete-volume" && volume.attached)
    return refusal("conflict", "is-attached", `${operation.name} is attached to ${name}: detach it first`);
  return undefined;
}

function refuseSize({ name, phase, spec }: VmRecord, operation: VmOperation): Refusal | undefined {
  if (operation.kind !== "resize") return undefined;
  if (phase !== "stopped")
    return refusal("conflict", "not-stopped", `${name} is ${phase}: stop it first, it is resized while it is stopped`);
  if (operation.diskGiB !== undefined && operation.diskGiB < spec.diskGiB)
    return refusal(
      "policy-violation",
      "disk-shrinks",
      `${name} has a disk of ${spec.diskGiB} GiB: a disk only grows, ask for that much or more`,
      { field: "diskGiB" },
    );
  return undefined;
}

/** P2: room at its host, and in its project's quota, for what is added. */
function refuseRoom({ set, policy }: Round, record: VmRecord, operation: VmOperation): Refusal | undefined {
  const added = addedBy(record, operation);
  const host = record.place.kind === "host" ? set.hosts.get(record.place.host) : undefined;
  if (host === undefined) return undefined;
  const free = host.option().free;
  const kind = lacking(free, added);
  if (kind !== undefined)
    return refusal(
      "resource-constraint",
      "no-capacity",
      `${host.name}, where ${record.name} lies, has ${free[kind]} ${RESOURCE_WORDS[kind]} free, ${added[kind]} more are needed`,
    );
  const quota = Object.hasOwn(policy.quotas, record.project) ? policy.quotas[record.project] : undefined;
  const used = set.usageOf(record.project).resources;
  const over = quota === undefined ? undefined : lacking(quota.resources, add(used, added));
  // What takes nothing more is no matter of a quota that was lowered meanwhile.
  if (quota === undefined || over === undefined || added[over] === 0) return undefined;
  return refusal(
    "policy-violation",
    "quota-exceeded",
    `project ${record.project} has ${used[over]} of ${quota.resources[over]} ${RESOURCE_WORDS[over]} and asks for ${added[over]} more: delete VMs or ask for a higher quota`,
  );
}
