/** Begins live moves: what can be moved, and where to. */
import { type Refusal, refusal } from "@muster/protocol";
import { ATTEMPTS_MAX } from "../core/limits.ts";
import type { VmRecord } from "../core/records.ts";
import { attemptsGiven, nextAttempt } from "../core/restored.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { isReachable } from "../dispatch/orders.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { whyBound } from "../operations/host-bound.ts";
import { whyBusy } from "../operations/operation-rules.ts";
import { demandFor } from "../queue/drain.ts";
import { refusedBy } from "../scheduler/filters.ts";
import { schedule, tallyLine } from "../scheduler/schedule.ts";
import { driveMove } from "./drive.ts";
import { holdOf } from "./move-end.ts";
import type { MoveRecord } from "./move-record.ts";
import { newTalk } from "./move-talk.ts";

/** Live moves of a site at once: each takes as much of the network as it can get (S2). */
export const MOVES_MAX = 8;
/** Of which one host sends, or takes in. */
export const MOVES_PER_HOST_MAX = 2;
/** Attempts that moves may use up; the rest is for starts (H5). */
const ATTEMPTS_FOR_MOVES = ATTEMPTS_MAX - 100;

/** Why this VM cannot be moved alive now, wherever to. */
export function whyNotMovable(round: Round, record: VmRecord): Refusal | undefined {
  const { name, phase, place, move, leftover } = record;
  const busy = whyBusy(record);
  if (busy !== undefined) return busy;
  if (move !== undefined)
    return refusal("conflict", "moving", `${name} is being moved to ${move.to}: cancel that first`);
  if (place.kind === "peer")
    return refusal("not-acceptable", "at-peer", `${name} runs at ${place.peer}, which decides where: move it home`);
  if (record.lentMove !== undefined) return refusal("conflict", "moving", `${name} is being moved by its borrower`);
  if (phase !== "running" || place.kind !== "host" || record.wanted !== "running")
    return refusal("conflict", "not-running", `${name} is ${phase}: only a running VM is moved alive`);
  const host = round.set.hosts.get(place.host);
  if (host === undefined || !isReachable(host))
    return refusal("unavailable", "host-not-heard", "its host is not heard now: try again later");
  if (host.capacity?.moves !== true)
    return refusal(
      "not-acceptable",
      "cannot-move",
      `${place.host} does not move VMs alive: see its host.yaml, \`migration\``,
    );
  const bound = whyBound(record);
  if (bound !== undefined) return bound;
  if (leftover !== undefined)
    return refusal("unavailable", "leftover", `${leftover.host} has not cleaned up after an earlier move yet`);
  if (host.flights.has(record.id))
    return refusal("unavailable", "busy", "another order for it is under way: try again in a moment", {
      retryAfterMs: 1_000,
    });
  if (attemptsGiven(record) >= ATTEMPTS_FOR_MOVES)
    return refusal(
      "not-acceptable",
      "attempts-used-up",
      `${name} was started and moved ${attemptsGiven(record)} times: create it anew`,
    );
  if (round.set.moves.size >= MOVES_MAX || (movesOf(round).get(place.host) ?? 0) >= MOVES_PER_HOST_MAX)
    return refusal("resource-constraint", "moves-limit", "other moves are under way: try again when they are over", {
      retryAfterMs: 5_000,
    });
  return undefined;
}

/** The best host for it but its own, or the one that was named where that would do. */
export function chooseDestination(round: Round, entry: VmEntry, to?: string): string | Refusal {
  const { place } = entry.record;
  const from = place.kind === "host" ? place.host : "";
  const moves = movesOf(round);
  const able = (host: HostEntry): boolean =>
    host.name !== from &&
    host.capacity?.moves === true &&
    isReachable(host) &&
    (moves.get(host.name) ?? 0) < MOVES_PER_HOST_MAX;
  const demand = demandFor(round, entry);
  if (to !== undefined) {
    const host = round.set.hosts.get(to);
    if (host === undefined) return refusal("item-not-found", "unknown-host", `there is no host ${to}`);
    if (to === from) return refusal("conflict", "same-host", `it is on ${to} already`);
    const reason = refusedBy(demand, host.option());
    if (reason !== undefined)
      return refusal("resource-constraint", reason.reason, `${to} cannot take it: ${reason.message}`);
    if (!able(host)) return refusal("not-acceptable", "cannot-move", `${to} does not take in VMs that move now`);
    return to;
  }
  const options = [...round.set.hosts.values()].filter(able).map((host) => host.option());
  const decision = schedule(demand, options, round.weights);
  if (decision.kind === "host") return decision.host;
  const tally = options.length === 0 ? "no other host moves VMs alive" : tallyLine(decision.tally);
  return refusal("resource-constraint", "no-destination", `no other host can take it now: ${tally}`);
}

export function startMove(round: Round, entry: VmEntry, to: string): void {
  const { record } = entry;
  if (record.place.kind !== "host") throw new Error(`${record.id} has no host to be moved from`);
  enterMove(round, entry, { name: record.place.host, attempt: record.attempt }, to);
  driveMove(round, entry);
}

/** Stores that the move begins, and keeps its room where a host of ours is to take it in. */
export function enterMove(
  round: Round,
  entry: VmEntry,
  from: { readonly name: string; readonly attempt: number },
  to: string,
  peer?: MoveRecord["peer"],
): void {
  const { record } = entry;
  const move = {
    id: round.turn.newId(),
    from: from.name,
    fromAttempt: from.attempt,
    to,
    attempt: nextAttempt(record),
    stage: "copying",
    startedAtMs: round.turn.nowMs,
    ...(peer === undefined ? {} : { peer }),
  } as const;
  round.set.hosts.get(to)?.hold(holdOf(move), record.spec);
  round.set.moves.set(record.id, newTalk());
  changeVm(round, entry, { move, reason: undefined });
  round.turn.event("vm", record.id, `${record.name} is being moved from ${move.from} to ${to}`);
}

/** How many moves each host has a part in. */
function movesOf({ set }: Round): Map<string, number> {
  const moves = new Map<string, number>();
  for (const vm of set.moves.keys()) {
    const move = set.vms.get(vm)?.record.move;
    for (const host of move === undefined ? [] : [move.from, move.to]) moves.set(host, (moves.get(host) ?? 0) + 1);
  }
  return moves;
}
