/**
 * What a host is to be told about a VM: desired compared with reported, without hints, so that a start, a restart of ours,
 * a lost answer and a host that comes back all take the same road.
 */
import { type CommandAction, type HostOperation, type HostVm, type HostVmState, isFinal } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import { hostOperation } from "../operations/host-operation.ts";
import { pendingOperation } from "../operations/operation-record.ts";

export type Order = {
  readonly action: CommandAction;
  readonly attempt: number;
  /** With `operate`: under the id that is stored (H2). */
  readonly operation?: { readonly id: string; readonly asked: HostOperation };
};

/** Whether the host would have to end something for this attempt to be over. */
export function isAlive(state: HostVmState): boolean {
  return state === "starting" || state === "running" || state === "paused" || state === "stopped";
}

/** Whether the record puts this attempt on this host. */
export function isOwn(record: VmRecord, host: string, attempt: number): boolean {
  return (
    !isFinal(record.phase) && record.place.kind === "host" && record.place.host === host && record.attempt === attempt
  );
}

/**
 * The order for a VM in its place. `reported` is what the host says of this very attempt; absent when it does not know it.
 * `askVoid`: the attempt is to be given up unless it has started already (H5). `renewed`: its lease was, and the host has
 * not heard of it (B4).
 */
export function orderInPlace(
  record: VmRecord,
  reported: HostVm | undefined,
  askVoid: boolean,
  renewed = false,
): Order | undefined {
  const { attempt, place } = record;
  const act = (action: CommandAction): Order => ({ action, attempt });
  const confirmed = place.kind === "host" && place.startedOn === "confirmed";
  if (reported === undefined) {
    // Not known there: what ran and is gone, or is not wanted, is closed by the host's own word that it never starts.
    return confirmed || askVoid || record.wanted === "deleted" ? act("void") : act("start");
  }
  if (!isAlive(reported.state)) return undefined;
  if (record.wanted === "deleted" || record.evicted === true) return act("delete");
  const { wanted } = record;
  const pending = pendingOperation(record);
  // Nothing else is ordered before its end is known: it may itself make the state another one.
  if (pending !== undefined)
    return reported.state === "starting"
      ? undefined
      : { ...act("operate"), operation: { id: pending.id, asked: hostOperation(record, pending) } };
  if (reported.state === "stopped") return wanted === "stopped" ? undefined : act("start");
  if (renewed) return act("renew");
  if (reported.state === "starting" || reported.state === wanted) return undefined;
  if (wanted === "stopped") return act(record.force === true ? "cut-off" : "stop");
  return act(wanted === "paused" ? "suspend" : "resume");
}

/** What an attempt on a host means that is not the record's place. */
export type Stray =
  /** Over, and its record too: the host may forget it. */
  | { readonly kind: "order"; readonly order: Order }
  /** Nobody knows the VM: adopted, shown, never killed (H3). */
  | { readonly kind: "stranger" }
  /** It lives here after all, and nowhere else: the record follows. */
  | { readonly kind: "adopt" }
  /** Alive in a second place, and not yet certain which one is to go: shown, left alone (P1). */
  | { readonly kind: "conflict" }
  | { readonly kind: "rest" };

/** The peer has said that it has the VM, in whichever state. */
function isConfirmedThere(phase: VmRecord["phase"]): boolean {
  return phase === "running" || phase === "paused" || phase === "stopped";
}

/**
 * Judges such an attempt. It is ended only for a durable intent: its record ended, or shows a later attempt, or a
 * place at a peer, which was given out after this one was void or vouched dead, and which is confirmed or not yet placed
 * anew.
 */
export function judgeStray(record: VmRecord | undefined, host: string, reported: HostVm): Stray {
  const { attempt, state } = reported;
  const order = (action: CommandAction): Stray => ({ kind: "order", order: { action, attempt } });
  if (record === undefined) return isAlive(state) ? { kind: "stranger" } : order("settle");
  if (isFinal(record.phase)) return order(isAlive(state) ? "delete" : "settle");
  if (!isAlive(state)) return { kind: "rest" };
  const { place } = record;
  const here = place.kind === "host" && place.host === host;
  if (attempt >= record.attempt && (place.kind === "none" || here)) return { kind: "adopt" };
  // Where a host was declared dead with its part in a move that was given up, that part is over though its number is higher.
  // A VM goes to a peer only after its last attempt at home was over: what is left of that one is no rival to the peer's.
  const { leftover } = record;
  const vouched = leftover?.dead === true && leftover.host === host && leftover.attempt === attempt;
  const over = vouched || attempt < record.attempt || (attempt === record.attempt && place.kind === "peer");
  if (!over) return { kind: "conflict" };
  const superseded =
    here ||
    place.kind === "none" ||
    (place.kind === "host" && place.startedOn === "confirmed") ||
    (place.kind === "peer" && isConfirmedThere(record.phase));
  return superseded ? order("delete") : { kind: "conflict" };
}
