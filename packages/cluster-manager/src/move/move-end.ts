/** How a live move goes on or ends, in the record first (L3). */
import type { MoveState } from "@muster/protocol";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { requeue } from "../dispatch/attempt-end.ts";
import { stepBorrower, wantAtPeer } from "../dispatch/borrowing.ts";
import { keepsToHost } from "../operations/host-bound.ts";
import type { MoveRecord } from "./move-record.ts";

/** Leaves the way forward. Returns true: the move goes on from here with another question. */
export function giveUp(round: Round, entry: VmEntry, reason: string, stage: "resuming" | "abandoning"): true {
  const { move } = entry.record;
  if (move === undefined) return true;
  enter(round, entry, { ...move, stage, reason: move.reason ?? reason });
  return true;
}

/** Stores the stage; only after that its question may be asked. */
export function enter(round: Round, entry: VmEntry, move: MoveRecord): void {
  const talk = round.set.moves.get(entry.record.id);
  if (talk !== undefined) {
    talk.tries = 0;
    talk.retryAtMs = 0;
    talk.progress = undefined;
  }
  changeVm(round, entry, { move });
  if (move.stage === "resuming") letPeerGo(round, entry, move);
}

/** What a peer made ready for a VM that stays is not wanted there any more. */
function letPeerGo(round: Round, { record }: VmEntry, { peer }: MoveRecord): void {
  if (peer?.role !== "destination" || record.place.kind === "peer") return;
  // What our hosts said of it is no business of the peer's (B5).
  stepBorrower(round, { kind: "release", vm: record.id, reason: "it was not moved: it stays where it is" });
}

/** The guest runs at the destination: that is its place from now on. */
export function handOver(round: Round, entry: VmEntry, move: MoveRecord, { address }: MoveState): void {
  const { peer } = move;
  round.set.hosts.get(move.to)?.unhold(holdOf(move));
  round.turn.event("vm", entry.record.id, `${entry.record.name} moved from ${move.from} to ${move.to}`);
  changeVm(round, entry, {
    place:
      peer?.role === "destination"
        ? { kind: "peer", peer: peer.domain, exchange: peer.exchange }
        : { kind: "host", host: move.to, startedOn: "confirmed" },
    attempt: move.attempt,
    phase: entry.record.wanted === "deleted" ? "deleting" : "running",
    address: address ?? entry.record.address,
    access: undefined,
    reason: undefined,
    move: { ...move, stage: "confirming" },
  });
  const { wanted } = entry.record;
  if (peer?.role === "destination" && wanted !== "running") wantAtPeer(round, entry, wanted);
}

/** The move is over; with a reason where the VM stayed where it was. Its hosts' words count again. */
export function endMove(round: Round, entry: VmEntry, reason?: string): void {
  const { move, attemptFloor } = entry.record;
  if (move === undefined) return;
  round.set.hosts.get(move.to)?.unhold(holdOf(move));
  const moved = move.stage === "confirming";
  // Who is dead owes no word; the others say that their part is void.
  const dead = isDead(round, move.to) ? ({ dead: true } as const) : {};
  const known = round.set.hosts.has(move.to);
  changeVm(round, entry, {
    move: undefined,
    ...(moved
      ? {}
      : {
          attemptFloor: Math.max(attemptFloor ?? 0, move.attempt),
          // What comes back with a source that died is a part in a move that is over: it is not taken up, but ended (H5).
          ...(move.peer?.role !== "source" && isDead(round, move.from) && entry.record.spec.onHostLoss !== "keep"
            ? { attempt: move.attempt }
            : {}),
          leftover: known ? { id: move.id, host: move.to, attempt: move.attempt, ...dead } : undefined,
          reason: reason?.slice(0, 500),
        }),
  });
  if (!moved && reason !== undefined)
    round.turn.event("vm", entry.record.id, `${entry.record.name}: ${reason}`.slice(0, 500));
  round.set.afterMove.add(entry.record.id);
  if (move.peer !== undefined) endAtPeer(round, entry, move, moved);
  else if (!moved && isDead(round, move.from)) endWithHost(round, entry, move.from);
}

/** A move between sites is over: so is the lease of what came home, or never went; and what its lease ended is over with it. */
function endAtPeer(round: Round, entry: VmEntry, move: MoveRecord, moved: boolean): void {
  const { record } = entry;
  if (move.peer?.role === "destination") {
    if (!moved) letPeerGo(round, entry, move);
    if (!moved && isDead(round, move.from)) endWithHost(round, entry, move.from);
    if (moved && round.borrower.exchangeOf(record.id) === undefined)
      endWithLease(round, entry, `its lease at ${move.to} ended`);
    return;
  }
  if (moved) stepBorrower(round, { kind: "release", vm: record.id, reason: "it went home" });
  else if (round.borrower.exchangeOf(record.id) === undefined)
    endWithLease(round, entry, `its lease at ${move.from} ended`);
}

/** Nothing of it is left at the peer: deleted as wanted, or back into the queue. */
function endWithLease(round: Round, entry: VmEntry, reason: string): void {
  if (entry.record.wanted !== "deleted") requeue(round, entry, reason);
  else changeVm(round, entry, { phase: "deleted", address: undefined, access: undefined, reason: undefined });
}

/**
 * The host was declared dead with this VM on it. Where a destination may run it already, or may be told to, only that one's
 * word ends the matter (P1).
 */
export function endWithHost(round: Round, entry: VmEntry, host: string): void {
  const { move, place, wanted } = entry.record;
  if (move?.from === host && (move.stage === "finishing" || move.stage === "abandoning")) return;
  if (move?.from === host && move.stage !== "confirming") {
    if (!waitAtSource(round, entry)) endMove(round, entry, `was not moved: ${host} died`);
    return;
  }
  if (place.kind !== "host" || place.host !== host) return;
  // Its borrower may have it run at home by now: it is started nowhere else here (P1).
  if (entry.record.lentMove?.role === "outgoing")
    changeVm(round, entry, { phase: "deleted", wanted: "deleted", address: undefined, lentMove: undefined });
  else if (wanted === "deleted") changeVm(round, entry, { phase: "deleted", address: undefined, reason: undefined });
  else if (keepsToHost(entry.record))
    changeVm(round, entry, { phase: "in-doubt", reason: `${host} was declared dead: it waits for it, with its disk` });
  else requeue(round, entry, `its host ${host} was declared dead`);
}

/** What is to be kept on a host that died goes on there when that is back; until then the move rests. */
export function waitAtSource(round: Round, entry: VmEntry): boolean {
  const { move, wanted, spec } = entry.record;
  if (move === undefined || wanted === "deleted" || spec.onHostLoss !== "keep") return false;
  letPeerGo(round, entry, move);
  round.set.hosts.get(move.to)?.unhold(holdOf(move));
  const reason = `${move.from} was declared dead: it waits for it, with its disk`;
  changeVm(round, entry, {
    phase: "in-doubt",
    reason,
    ...(move.stage === "resuming" ? {} : { move: { ...move, stage: "resuming", reason } }),
  });
  return true;
}

function isDead({ set }: Round, host: string): boolean {
  return set.hosts.get(host)?.record.fenced !== false;
}

/** Room at the destination is kept under this name. */
export function holdOf({ id }: Pick<MoveRecord, "id">): string {
  return `move/${id}`;
}
