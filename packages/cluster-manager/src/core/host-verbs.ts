/** What admins do with hosts. */
import { type DrainPolicy, refusal } from "@muster/protocol";
import type { HostEntry } from "../inventory/host-entry.ts";
import { askHost } from "../inventory/presence.ts";
import { forgetReports } from "../inventory/reports.ts";
import { driveMoves } from "../move/drive.ts";
import { evictFrom, forgetEviction } from "../move/evict.ts";
import { endWithHost } from "../move/move-end.ts";
import { takesPart } from "../move/moving.ts";
import type { Actor, CoreEvent, Ticket } from "./event.ts";
import type { RemovedRecord } from "./records.ts";
import { noteTermObeyed } from "./restored.ts";
import { changeHost, type Round } from "./round.ts";

type HostVerb = Extract<CoreEvent, { kind: "host-add" | "host-drain" | "host-fence" | "host-remove" }>;

export function takeHostVerb(round: Round, event: HostVerb): void {
  if (!mayManage(round, event.ticket, event.actor)) return;
  if (event.kind === "host-add") addHost(round, event);
  else {
    const host = round.set.hosts.get(event.host);
    if (host === undefined)
      refuse(round, event.ticket, "item-not-found", "unknown-host", `there is no host ${event.host}`);
    else if (event.kind === "host-drain") drain(round, event.ticket, host, event.draining, event.policy);
    else if (event.kind === "host-fence") fence(round, event.ticket, event.actor, host);
    else remove(round, event.ticket, host);
  }
}

function mayManage(round: Round, ticket: Ticket, actor: Actor): boolean {
  if (actor.role === "admin") return true;
  refuse(round, ticket, "forbidden", "admins-only", `${actor.user} may not manage hosts: ask an admin`);
  return false;
}

function addHost(round: Round, { ticket, host: name, configured }: HostVerb & { kind: "host-add" }): void {
  const { set, turn } = round;
  if (configured === true && set.removed.has(name)) {
    const message = `an admin removed ${name}: enrol it again, or take it out of the configuration`;
    refuse(round, ticket, "conflict", "removed", message);
    return;
  }
  if (set.removed.delete(name)) turn.delete(`removed/${name}`);
  if (!set.hosts.has(name)) {
    const host = set.putHost({ name, enrolledAtMs: turn.nowMs, draining: false, fenced: false, joined: false });
    changeHost(round, host, {});
    turn.event("host", name, "enrolled");
    turn.contact("host", name);
    askHost(round, host);
  }
  turn.answer(ticket, { kind: "host", host: name });
}

/** No new VMs, or new ones again. Undraining also ends a fence, since the host was looked after. */
function drain(round: Round, ticket: Ticket, host: HostEntry, draining: boolean, policy?: DrainPolicy): void {
  const drainPolicy = draining ? policy : undefined;
  if (
    host.record.draining !== draining ||
    host.record.drainPolicy !== drainPolicy ||
    (!draining && host.record.fenced)
  ) {
    if (!draining && host.record.fenced && host.strays.size > 0) {
      const message = `${host.name} still runs VMs that were declared dead: wait until they are removed`;
      refuse(round, ticket, "conflict", "strays", message);
      return;
    }
    changeHost(round, host, { draining, drainPolicy, ...(draining ? {} : { fenced: false }) });
    round.turn.event("host", host.name, draining ? "is draining" : "takes VMs again");
    round.turn.contact("host", host.name);
    round.set.wake();
    if (draining) evictFrom(round, host);
    else forgetEviction(round, host);
  }
  round.turn.answer(ticket, { kind: "host", host: host.name });
}

/** P1: the admin vouches that nothing runs there any more; only then its VMs may start elsewhere. */
function fence(round: Round, ticket: Ticket, actor: Actor, host: HostEntry): void {
  if (host.liveness === "alive") {
    refuse(
      round,
      ticket,
      "conflict",
      "host-alive",
      `${host.name} is heard: it is not dead; drain it, or switch it off first`,
    );
    return;
  }
  changeHost(round, host, { fenced: true });
  noteTermObeyed(round, host);
  forgetReports(round, host);
  for (const vm of [...host.placed.keys()]) {
    const entry = round.set.vms.get(vm);
    if (entry !== undefined) endWithHost(round, entry, host.name);
  }
  driveMoves(round);
  round.turn.event("host", host.name, `was declared dead by ${actor.user}: its VMs may start elsewhere`);
  round.turn.contact("host", host.name);
  round.turn.answer(ticket, { kind: "host", host: host.name });
}

function remove(round: Round, ticket: Ticket, host: HostEntry): void {
  if (host.placed.size > 0) {
    const remedy = host.liveness === "alive" ? "drain it and delete or move them" : "fence it if it is dead";
    refuse(round, ticket, "conflict", "not-empty", `${host.name} has ${host.placed.size} VMs: ${remedy} first`);
    return;
  }
  const moving = [...round.set.moves.keys()].find((vm) => takesPart(round.set.vms.get(vm)?.record.move, host.name));
  if (moving !== undefined) {
    const message = `${host.name} takes part in the move of VM ${moving}: wait for its end, or cancel it, first`;
    refuse(round, ticket, "conflict", "moving", message);
    return;
  }
  for (const [key, at] of round.set.pencils) {
    if (at !== host.name) continue;
    round.set.pencils.delete(key);
    round.set.holdsWithoutRoom = true;
  }
  forgetReports(round, host);
  noteTermObeyed(round, host);
  round.set.dropHost(host.name);
  round.turn.delete(`host/${host.name}`);
  round.set.removed.add(host.name);
  round.turn.put(`removed/${host.name}`, { name: host.name, atMs: round.turn.nowMs } satisfies RemovedRecord);
  round.turn.effect({ kind: "forget-host", host: host.name });
  round.turn.event("host", host.name, "was removed");
  round.turn.contact("host", host.name);
  round.turn.answer(ticket, { kind: "host", host: host.name });
}

function refuse(
  round: Round,
  ticket: Ticket,
  kind: "conflict" | "forbidden" | "item-not-found",
  reason: string,
  message: string,
): void {
  round.turn.answer(ticket, { kind: "refused", refusal: refusal(kind, reason, message) });
}
