/** What users ask of their VMs. The wish is stored and answered; the orders that make it true follow from the record. */
import { isFinal, type Refusal, refusal, type VmAction, type WantedState } from "@muster/protocol";
import { releaseAtPeer, wantAtPeer } from "../dispatch/borrowing.ts";
import { attend, isReachable, sendOnce } from "../dispatch/orders.ts";
import { giveUpOperation } from "../operations/operation-end.ts";
import { whyBusy } from "../operations/operation-rules.ts";
import { refuseActor } from "./admission.ts";
import type { Actor, CoreEvent } from "./event.ts";
import type { VmRecord } from "./records.ts";
import { changeVm, type Round } from "./round.ts";
import type { VmEntry } from "./working-set.ts";

export function takeVmAction(round: Round, event: Extract<CoreEvent, { kind: "vm-action" }>): void {
  const found = findForActor(round, event.actor, event.vm);
  const refused = "kind" in found ? found : refuseAction(found.record, event.action);
  if ("kind" in found || refused !== undefined) {
    if (refused !== undefined) round.turn.answer(event.ticket, { kind: "refused", refusal: refused });
    return;
  }
  const denied =
    event.action === "reboot" ? reboot(round, found) : setWanted(round, found, event.action, event.force === true);
  if (denied !== undefined) round.turn.answer(event.ticket, { kind: "refused", refusal: denied });
  else round.turn.answer(event.ticket, { kind: "vm", vm: found.record.id });
}

export function takeVmDelete(round: Round, event: Extract<CoreEvent, { kind: "vm-delete" }>): void {
  const found = findForActor(round, event.actor, event.vm);
  if ("kind" in found) {
    round.turn.answer(event.ticket, { kind: "refused", refusal: found });
    return;
  }
  deleteVm(round, found, undefined);
  round.turn.answer(event.ticket, { kind: "vm", vm: found.record.id });
}

/** Ends a VM whatever it is doing: at once where it has no place, after its host or peer confirmed otherwise (P1). */
export function deleteVm(round: Round, entry: VmEntry, reason: string | undefined): void {
  const { record } = entry;
  if (isFinal(record.phase) || record.wanted === "deleted") return;
  if (record.place.kind === "none") {
    changeVm(round, entry, { phase: "cancelled", wanted: "deleted", reason });
    if (entry.wanting) releaseAtPeer(round, entry, reason ?? "cancelled by its user");
    return;
  }
  giveUpOperation(round, entry, "the VM is being deleted");
  const host = record.place.kind === "host" ? round.set.hosts.get(record.place.host) : undefined;
  if (host?.record.fenced === true && record.move === undefined) {
    // It ran on a host that was declared dead: there is nobody to wait for (P1).
    changeVm(round, entry, { phase: "deleted", wanted: "deleted", address: undefined, reason });
    return;
  }
  const silent =
    host?.silent === true ? `${host.name} is not heard: it goes when that is back, or declared dead` : undefined;
  changeVm(round, entry, { phase: "deleting", wanted: "deleted", reason: reason ?? silent });
  entry.retryAtMs = 0;
  // What its host said while it was to come over, or go, counts from now on.
  if (record.lentMove !== undefined) round.set.afterMove.add(record.id);
  if (record.place.kind === "peer") releaseAtPeer(round, entry, reason ?? "deleted by its user");
  else attendPlace(round, entry);
}

/** Gives the order that follows from a changed wish, if the VM has a host. */
export function attendPlace(round: Round, entry: VmEntry): void {
  const { place } = entry.record;
  const host = place.kind === "host" ? round.set.hosts.get(place.host) : undefined;
  if (host !== undefined) attend(round, host, entry.record.id);
}

export function findForActor(round: Round, actor: Actor, idOrName: string): VmEntry | Refusal {
  const found = round.set.find(idOrName);
  if (found === undefined)
    return refusal("item-not-found", "unknown-vm", `there is no VM ${idOrName.slice(0, 64)}: see muster vm list`);
  if (found === "ambiguous")
    return refusal("conflict", "ambiguous-name", `several VMs are called ${idOrName.slice(0, 64)}: use the id`);
  const { record } = found;
  if (record.origin.kind === "peer") {
    if (actor.role !== "admin") return refusal("forbidden", "lent", "it belongs to a peer's user");
    return refusal(
      "forbidden",
      "lent",
      `it runs for ${record.origin.peer}, whose user decides: its lease ends by itself`,
    );
  }
  return refuseActor(actor, record.project) ?? found;
}

const WANTED: Readonly<Record<Exclude<VmAction, "reboot">, WantedState>> = {
  start: "running",
  stop: "stopped",
  suspend: "paused",
  resume: "running",
};

function refuseAction(record: VmRecord, action: VmAction): Refusal | undefined {
  const { phase, name } = record;
  if (isFinal(phase)) return refusal("conflict", "ended", `${name} is ${phase}: create a new one`);
  if (record.wanted === "deleted") return refusal("conflict", "being-deleted", `${name} is being deleted`);
  const busy = whyBusy(record);
  if (busy !== undefined) return busy;
  if (phase === "queued" && action !== "start")
    return refusal("conflict", "not-started", `${name} waits for room: delete it to withdraw it`);
  const stopped = record.wanted === "stopped";
  if (stopped && (action === "suspend" || action === "resume"))
    return refusal("conflict", "is-stopped", `${name} is stopped: start it first`);
  if (action === "reboot" && (phase !== "running" || record.wanted !== "running"))
    return refusal("conflict", "not-running", `${name} is ${phase}, only a running VM is rebooted`);
  return undefined;
}

function setWanted(
  round: Round,
  entry: VmEntry,
  action: Exclude<VmAction, "reboot">,
  force: boolean,
): Refusal | undefined {
  const wanted = WANTED[action];
  const { place } = entry.record;
  if (force && place.kind === "peer")
    return refusal("not-acceptable", "force-at-peer", `a VM at ${place.peer} is not cut off from here: stop it`);
  entry.retryAtMs = 0;
  entry.setbacks = 0;
  changeVm(round, entry, { wanted, force: force && action === "stop" ? true : undefined });
  if (entry.record.place.kind === "peer") wantAtPeer(round, entry, wanted);
  else attendPlace(round, entry);
  return undefined;
}

/** A reboot leaves nothing to store: it goes out at once, or is refused. */
function reboot(round: Round, entry: VmEntry): Refusal | undefined {
  const { record } = entry;
  if (record.place.kind === "peer")
    return refusal("not-acceptable", "reboot-at-peer", "a VM at a peer is not rebooted from here: stop and start it");
  const host = record.place.kind === "host" ? round.set.hosts.get(record.place.host) : undefined;
  if (host === undefined || !isReachable(host))
    return refusal("unavailable", "host-not-heard", "its host is not heard now: try again later");
  if (host.flights.has(record.id))
    return refusal("conflict", "busy", "another order for it is under way: try again in a moment", {
      retryAfterMs: 1_000,
    });
  sendOnce(round, host, record);
  return undefined;
}
