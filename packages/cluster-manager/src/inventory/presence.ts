/** Signs of life of a host, what it reports of itself, and what we ask of it in turn. */
import type { Capacity, Welcome } from "@muster/protocol";
import { HELLO_MS, PAST_BOOTS_MAX, pauseMs } from "../core/limits.ts";
import { noteNewerTerm, noteTermObeyed } from "../core/restored.ts";
import { changeHost, changeVm, type Round } from "../core/round.ts";
import { NOTHING_TOLD, noteUnderlay, underlayForHello, underlayHeard } from "../networks/underlay.ts";
import { noteGateway } from "../tunnels/tunnel-wish.ts";
import type { HostEntry } from "./host-entry.ts";
import { judge } from "./liveness.ts";

/** Any stanza of the host. Its number within its boot was checked where it has one. */
export function hear(round: Round, host: HostEntry): void {
  host.heardAtMs = round.turn.nowMs;
  reviewHost(round, host);
}

export function takeCapacity(round: Round, host: HostEntry, capacity: Capacity): void {
  const before = host.capacity;
  if (host.pastBoots.has(capacity.bootId)) {
    challenge(host);
    return;
  }
  // Presences may come late: an older one of the same boot says nothing new.
  if (before !== undefined && before.bootId === capacity.bootId && capacity.sequence < before.sequence) return;
  if (before?.bootId !== capacity.bootId || capacity.sequence > before.sequence) host.capacityAtMs = round.turn.nowMs;
  host.capacity = capacity;
  host.unavailableAtMs = undefined;
  setBoot(host, capacity.bootId);
  hear(round, host);
  noteNewerTerm(round, host, capacity.termObeyed);
  noteUnderlay(round, host);
  noteGateway(round, host);
  if (before !== undefined && sameOffer(before, capacity)) return;
  host.changed();
  round.set.wake();
  round.turn.contact("host", host.name);
}

export function takeUnavailable(round: Round, host: HostEntry): void {
  host.unavailableAtMs = round.turn.nowMs;
  reviewHost(round, host);
}

export function takeWelcome(round: Round, host: HostEntry, welcome: Welcome): void {
  // It answers our own question: whoever does so speaks for the host.
  host.pastBoots.delete(welcome.bootId);
  setBoot(host, welcome.bootId);
  markJoined(round, host);
  host.welcomedBoot = welcome.bootId;
  noteTermObeyed(round, host);
  host.hello.tries = 0;
  underlayHeard(host);
  hear(round, host);
}

/** A new boot of the host manager: its list and its numbers begin anew, and it has not heard of our term (H1). */
function setBoot(host: HostEntry, bootId: string): void {
  if (host.bootId === bootId) return;
  if (host.bootId !== undefined) host.pastBoots.add(host.bootId);
  for (const oldest of host.pastBoots) if (host.pastBoots.size > PAST_BOOTS_MAX) host.pastBoots.delete(oldest);
  host.bootId = bootId;
  host.hello.dueMs = 0;
  host.hello.tries = 0;
  host.fetch.dueMs = 0;
  host.fetch.tries = 0;
  Object.assign(host.underlay, NOTHING_TOLD);
  host.changed();
}

/**
 * Somebody speaks for the host whom we take for an earlier start of it: it is asked again who it is, for the answer that
 * made us think so may itself have been the late one.
 */
export function challenge(host: HostEntry): void {
  host.welcomedBoot = undefined;
}

/** Enrolled hosts that never joined are told from those that are silent. */
function markJoined(round: Round, host: HostEntry): void {
  if (host.record.joined === false) changeHost(round, host, { joined: true });
}

/** Whether two reports offer the same: a mere heartbeat wakes nobody. */
function sameOffer(left: Capacity, right: Capacity): boolean {
  const { sequence: _, inventoryDigest: __, ...before } = left;
  const { sequence: ___, inventoryDigest: ____, ...after } = right;
  return JSON.stringify(before) === JSON.stringify(after);
}

/** Judges one host by our own clock and tells of a change. */
export function reviewHost(round: Round, host: HostEntry): void {
  const judged = judge(host, round.set.link, round.policy.timing, round.turn.nowMs);
  if (judged.liveness !== host.liveness) {
    round.turn.event("host", host.name, `is ${judged.liveness}`);
    if (judged.liveness === "alive") round.set.wake();
    host.liveness = judged.liveness;
    host.changed();
    round.turn.contact("host", host.name);
  }
  if (judged.silent && !host.silent) doubt(round, host);
  host.silent = judged.silent;
}

/** P1: what ran there is in doubt, and stays where it is until the host speaks or an admin vouches for its death. */
function doubt(round: Round, host: HostEntry): void {
  host.inventory = undefined;
  host.fetch.dueMs = 0;
  // Where two shared an account, the one that is left may speak again.
  host.pastBoots.clear();
  host.changed();
  for (const vm of [...host.placed.keys()]) {
    const entry = round.set.vms.get(vm);
    if (entry === undefined || entry.record.phase === "deleting") continue;
    changeVm(round, entry, { phase: "in-doubt", reason: `its host ${host.name} is not heard` });
  }
}

/** Asks what is to be asked of the host now: that it obeys our term, then for its list where ours differs (L4). */
export function askHost(round: Round, host: HostEntry): void {
  const { nowMs } = round.turn;
  if (!round.set.link.online) return;
  if (host.bootId === undefined || host.welcomedBoot !== host.bootId) {
    if (nowMs < host.hello.dueMs) return;
    host.hello.dueMs = nowMs + Math.min(round.policy.timing.commandTimeoutMs, HELLO_MS) + pauseMs(host.hello.tries);
    host.hello.tries += 1;
    const underlay = underlayForHello(round, host);
    round.turn.effect({ kind: "hello", host: host.name, ...(underlay === undefined ? {} : { underlay }) });
    return;
  }
  if (!needsList(host) || nowMs < host.fetch.dueMs) return;
  host.fetch.dueMs =
    nowMs + Math.max(round.policy.timing.commandTimeoutMs, host.heartbeatMs) + pauseMs(host.fetch.tries);
  host.fetch.tries += 1;
  host.movedSinceFetch.clear();
  const subjects = round.set.restore === undefined ? {} : { subjects: true as const };
  round.turn.effect({ kind: "fetch-inventory", host: host.name, ...subjects });
}

/**
 * After each report the list differs until it is read again: bounded by `fetch.dueMs` to one list a heartbeat. What single
 * reports made of it is compared with the host's own even where the digest is the old one again.
 */
function needsList(host: HostEntry): boolean {
  if (host.liveness !== "alive") return false;
  if (!host.reconciled) return true;
  return host.listMoved || (host.capacity !== undefined && host.capacity.inventoryDigest !== host.inventory?.digest);
}
