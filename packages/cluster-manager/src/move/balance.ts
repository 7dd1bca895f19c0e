/** Makes the site more even by live moves, as many as it is told to, by the scheduler's own score. */
import { type ProposedMove, type Resources, refusal, resourcesOf } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import type { Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { demandFor } from "../queue/drain.ts";
import { refusedBy } from "../scheduler/filters.ts";
import type { HostOption } from "../scheduler/host-option.ts";
import { scoreOf } from "../scheduler/scores.ts";
import { chooseDestination, startMove, whyNotMovable } from "./start.ts";

/**
 * What a move must gain at least. Larger than what the VM itself shifts the scores by, so that a move is not worth undoing:
 * the score of a host falls by the VM's share when it comes and rises by it when it goes.
 */
const GAIN_LEAST = 0.2;
/** VMs that one look compares (S2). */
const LOOKED_AT_MAX = 2_000;

export function takeBalance(
  round: Round,
  { ticket, actor, dryRun, movesMax }: Extract<CoreEvent, { kind: "site-balance" }>,
): void {
  if (actor.role !== "admin") {
    const denied = refusal("forbidden", "admins-only", `${actor.user} may not balance the site: ask an admin`);
    round.turn.answer(ticket, { kind: "refused", refusal: denied });
    return;
  }
  const moves = proposeMoves(round, movesMax);
  const begun = dryRun ? moves : moves.filter((move) => begin(round, move));
  round.turn.answer(ticket, { kind: "balance", view: { dryRun, moves: begun } });
}

/** Where the admin wants it, from time to time; never while moves are under way. */
export function balanceByItself(round: Round): void {
  const { set, policy, turn } = round;
  if (policy.balance === undefined || !set.reconciled || set.moves.size > 0) return;
  if (turn.nowMs - set.balancedAtMs < policy.balance.everyMs) return;
  set.balancedAtMs = turn.nowMs;
  for (const move of proposeMoves(round, policy.balance.movesMax)) begin(round, move);
}

function begin(round: Round, { vm, to }: ProposedMove): boolean {
  const entry = round.set.vms.get(vm);
  if (entry === undefined || whyNotMovable(round, entry.record) !== undefined) return false;
  if (chooseDestination(round, entry, to) !== to) return false;
  startMove(round, entry, to);
  return true;
}

/** The best move first, then the best one after that, each on the site as the ones before it would leave it. */
export function proposeMoves(round: Round, movesMax: number): ProposedMove[] {
  const hosts = new Map(
    [...round.set.hosts.values()]
      .filter(({ capacity }) => capacity?.moves === true)
      .map((host) => [host.name, host.option()]),
  );
  expectMoves(round, hosts);
  const entries = [...round.set.vms.values()]
    .filter(({ record }) => isCandidate(round, record, hosts))
    .slice(0, LOOKED_AT_MAX);
  const moves: ProposedMove[] = [];
  const moved = new Set<string>();
  while (moves.length < movesMax) {
    const best = bestOf(
      round,
      entries.filter(({ record }) => !moved.has(record.id)),
      hosts,
    );
    if (best === undefined) return moves;
    moves.push(best);
    moved.add(best.vm);
    const spec = round.set.vms.get(best.vm)?.record.spec;
    const [from, to] = [hosts.get(best.from), hosts.get(best.to)];
    if (spec === undefined || from === undefined || to === undefined) return moves;
    hosts.set(from.name, shifted(from, resourcesOf(spec), 1));
    hosts.set(to.name, shifted(to, resourcesOf(spec), -1));
  }
  return moves;
}

/** Moves that are under way count as done: their room at the destination is kept already. */
function expectMoves({ set }: Round, hosts: Map<string, HostOption>): void {
  for (const vm of set.moves.keys()) {
    const record = set.vms.get(vm)?.record;
    if (record?.move === undefined || (record.move.stage !== "copying" && record.move.stage !== "finishing")) continue;
    const [from, to] = [hosts.get(record.move.from), hosts.get(record.move.to)];
    if (from !== undefined) hosts.set(from.name, shifted(from, resourcesOf(record.spec), 1));
    if (to !== undefined) hosts.set(to.name, { ...to, vms: to.vms + 1 });
  }
}

function isCandidate(round: Round, record: VmEntry["record"], hosts: ReadonlyMap<string, HostOption>): boolean {
  return record.place.kind === "host" && hosts.has(record.place.host) && whyNotMovable(round, record) === undefined;
}

function bestOf(
  round: Round,
  entries: readonly VmEntry[],
  hosts: ReadonlyMap<string, HostOption>,
): ProposedMove | undefined {
  let best: ProposedMove | undefined;
  for (const entry of entries) {
    const { record } = entry;
    const from = record.place.kind === "host" ? hosts.get(record.place.host) : undefined;
    if (from === undefined) continue;
    const demand = demandFor(round, entry);
    // As if it were to be placed anew: its own host without it.
    const stays = scoreOf(demand, shifted(from, demand.resources, 1), round.weights);
    for (const to of hosts.values()) {
      if (to.name === from.name || refusedBy(demand, to) !== undefined) continue;
      const gain = Math.round((scoreOf(demand, to, round.weights) - stays) * 1e3) / 1e3;
      if (gain < GAIN_LEAST || (best !== undefined && best.gain >= gain)) continue;
      best = { vm: record.id, name: record.name, from: from.name, to: to.name, gain };
    }
  }
  return best;
}

/** The host with so much more (1) or less (-1) free. */
function shifted(host: HostOption, by: Resources, sign: 1 | -1): HostOption {
  const { free } = host;
  return {
    ...host,
    vms: host.vms - sign,
    free: {
      vcpus: free.vcpus + sign * by.vcpus,
      memoryMiB: free.memoryMiB + sign * by.memoryMiB,
      diskGiB: free.diskGiB + sign * by.diskGiB,
      gpus: free.gpus + sign * by.gpus,
    },
  };
}
