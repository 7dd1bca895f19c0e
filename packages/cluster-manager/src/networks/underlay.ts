/**
 * Where the tunnels of the site's hosts end. Each host says its own end in its capacity; it is kept with the host's record, so
 * that a new leader knows all of them before it has heard anybody, and takes none away by not knowing it.
 */
import { UNDERLAY_PEERS_MAX, type UnderlayEnd, type UnderlayList, type UnderlayPeer } from "@muster/protocol";
import { pauseMs } from "../core/limits.ts";
import { changeHost, type Round } from "../core/round.ts";
import type { HostEntry } from "../inventory/host-entry.ts";

/** Changes of the list are collected for so long before hosts are told: many come together at a start (S2). */
export const UNDERLAY_REVIEW_MS = 1_000;
/** How long a host has for its answer before it is told again. */
const ANSWER_MS = 2_000;

/** The list as it was told last; counts its changes within this leadership. */
export class UnderlayBook {
  reviewedAtMs: number | undefined;
  list: UnderlayList | undefined;
  /** Whether there are more hosts than a list has room for. */
  isFull = false;
}

/** What a host was told of the others; begins anew with each start of its manager. */
export type UnderlayTold = { generation: number; helloGeneration: number; dueMs: number; tries: number };

export const NOTHING_TOLD: UnderlayTold = { generation: 0, helloGeneration: 0, dueMs: 0, tries: 0 };

/** Keeps what a host says of its own end. */
export function noteUnderlay(round: Round, host: HostEntry): void {
  const said = host.capacity?.underlay;
  if (sameEnd(said, host.record.underlay)) return;
  changeHost(round, host, { underlay: said });
}

/** The list for a `hello`; absent where no host has an end. */
export function underlayForHello(round: Round, host: HostEntry): UnderlayList | undefined {
  const { underlay } = round.set;
  if (underlay.reviewedAtMs === undefined) review(round);
  host.underlay.helloGeneration = underlay.list?.generation ?? 0;
  return underlay.list;
}

/** The host answered `hello`: it has the list that came with it. */
export function underlayHeard(host: HostEntry): void {
  host.underlay.generation = Math.max(host.underlay.generation, host.underlay.helloGeneration);
}

export function takeUnderlayTaken(host: HostEntry, generation: number): void {
  host.underlay.generation = Math.max(host.underlay.generation, generation);
  host.underlay.tries = 0;
}

/** Reviews the list where it is time, and tells it to hosts that have another one. Only those with an end need it. */
export function tellUnderlay(round: Round): void {
  const { set, turn } = round;
  const { underlay } = set;
  if (underlay.reviewedAtMs !== undefined && turn.nowMs - underlay.reviewedAtMs < UNDERLAY_REVIEW_MS) return;
  review(round);
  const { list } = underlay;
  if (list === undefined || !set.link.online) return;
  for (const host of set.hosts.values()) {
    const told = host.underlay;
    const listens = host.bootId !== undefined && host.welcomedBoot === host.bootId && host.liveness === "alive";
    if (!listens || host.record.underlay === undefined || told.generation >= list.generation) continue;
    if (turn.nowMs < told.dueMs) continue;
    told.dueMs = turn.nowMs + ANSWER_MS + pauseMs(told.tries);
    told.tries += 1;
    turn.effect({ kind: "underlay", host: host.name, list });
  }
}

function review({ set, turn }: Round): void {
  const { underlay } = set;
  underlay.reviewedAtMs = turn.nowMs;
  const ends = [...set.hosts.values()]
    .flatMap(({ name, record }): UnderlayPeer[] =>
      record.underlay === undefined ? [] : [{ host: name, ...record.underlay }],
    )
    .sort((left, right) => (left.host < right.host ? -1 : 1));
  const peers = ends.slice(0, UNDERLAY_PEERS_MAX);
  const isFull = ends.length > peers.length;
  if (isFull && !underlay.isFull)
    turn.event(
      "site",
      "underlay",
      `${ends.length} hosts have ends of tunnels, ${UNDERLAY_PEERS_MAX} can be told: give the hosts a multicast group`,
    );
  underlay.isFull = isFull;
  if (JSON.stringify(peers) === JSON.stringify(underlay.list?.peers ?? [])) return;
  underlay.list = { generation: (underlay.list?.generation ?? 0) + 1, peers };
  for (const host of set.hosts.values()) {
    host.underlay.dueMs = 0;
    host.underlay.tries = 0;
  }
}

function sameEnd(left: UnderlayEnd | undefined, right: UnderlayEnd | undefined): boolean {
  return left?.address === right?.address && left?.port === right?.port;
}
