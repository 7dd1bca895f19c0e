/** Brings live moves forward: asks the next step of the host whose turn it is, one question of a move at a time. */
import { isFinal, type Move } from "@muster/protocol";
import { pauseMs } from "../core/limits.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { leaseEndMs, leaseTerms } from "../dispatch/lease-terms.ts";
import { isReachable, subjectOf } from "../dispatch/orders.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { askPeer, isAtPeer, standingOf, waitsForLease, whyOver } from "./between-sites.ts";
import { endMove, giveUp, waitAtSource } from "./move-end.ts";
import type { Leftover } from "./move-record.ts";
import { type MoveQuestion, type MoveTalk, newTalk, nextQuestion } from "./move-talk.ts";

/** How long a host keeps a question open before it says how the step stands. */
const WAIT_MS = 2_000;
/** Questions of one step without an answer before a move that can still be given up is. */
const TRIES_MAX = 8;

/** Every move, at a tick or when a host was heard again. */
export function driveMoves(round: Round): void {
  for (const vm of [...round.set.moves.keys()]) {
    const entry = round.set.vms.get(vm);
    if (entry === undefined) round.set.moves.delete(vm);
    else driveMove(round, entry);
  }
}

/** Moves of whose exchanges there was news in this step. */
export function driveNews(round: Round): void {
  for (const vm of round.set.moveNews) {
    round.set.moveNews.delete(vm);
    const entry = round.set.vms.get(vm);
    if (entry !== undefined) driveMove(round, entry);
  }
}

export function driveMove(round: Round, entry: VmEntry): void {
  const { record } = entry;
  if (record.move === undefined && record.leftover === undefined) {
    round.set.moves.delete(record.id);
    return;
  }
  const talk = round.set.moves.get(record.id) ?? newTalk();
  round.set.moves.set(record.id, talk);
  if (talk.call !== undefined && talk.call.dueMs > round.turn.nowMs) return;
  if (talk.call !== undefined) noAnswer(round, talk);
  if (look(round, entry, talk)) {
    driveMove(round, entry);
    return;
  }
  if (talk.retryAtMs > round.turn.nowMs || waitsForLease(round, entry.record)) return;
  const question = nextQuestion(entry.record, talk);
  if (question !== undefined && question.host === entry.record.move?.peer?.domain) {
    askPeer(round, entry.record, talk, question);
    return;
  }
  const host = question === undefined ? undefined : round.set.hosts.get(question.host);
  if (question !== undefined && host !== undefined && isReachable(host)) ask(round, entry, talk, host, question);
}

/** What changed about the move without an answer: a wish, or a host that is away for good. Says whether it began anew. */
function look(round: Round, entry: VmEntry, talk: MoveTalk): boolean {
  const { move, leftover, wanted } = entry.record;
  if (move === undefined) return leftover !== undefined && lookAfter(round, entry, leftover);
  const [from, to] = [standingOf(round, entry.record, "from"), standingOf(round, entry.record, "to")];
  const isHost = round.set.hosts.has(move.from);
  if (from === "dead" && move.stage !== "finishing" && move.stage !== "abandoning") {
    if (isHost && move.stage !== "confirming" && waitAtSource(round, entry)) return false;
    endMove(
      round,
      entry,
      isAtPeer(move, "from") ? `its lease at ${move.from} ended` : `its host ${move.from} was declared dead`,
    );
    return true;
  }
  if (to === "dead" && move.stage !== "confirming" && move.stage !== "resuming") {
    const why = isAtPeer(move, "to") ? whyOver(round, entry.record) : `${move.to} was declared dead`;
    giveUp(round, entry, why, "resuming");
    return true;
  }
  if (move.stage !== "copying") return false;
  if (wanted !== "running") return giveUp(round, entry, "it is not wanted running any more", "resuming");
  if (to === "lost") return giveUp(round, entry, `${move.to} is not heard any more`, "resuming");
  if (from === "lost" && isAtPeer(move, "from"))
    return giveUp(round, entry, `its lease at ${move.from} is ending`, "resuming");
  if (talk.tries >= TRIES_MAX) return giveUp(round, entry, "a host did not answer", "resuming");
  return false;
}

/** What a destination that died may bring back is kept in mind until it is back in service, or the VM is over. */
function lookAfter(round: Round, entry: VmEntry, leftover: Leftover): boolean {
  const host = round.set.hosts.get(leftover.host);
  const dead = leftover.dead === true;
  if (host?.record.fenced === dead && !(dead && isFinal(entry.record.phase))) return false;
  const owed = host !== undefined && !dead;
  changeVm(round, entry, { leftover: owed ? { ...leftover, dead: true } : undefined });
  return true;
}

function noAnswer(round: Round, talk: MoveTalk): void {
  talk.call = undefined;
  talk.retryAtMs = round.turn.nowMs + pauseMs(talk.tries);
  talk.tries += 1;
}

function ask(round: Round, entry: VmEntry, talk: MoveTalk, host: HostEntry, question: MoveQuestion): void {
  const { turn, policy } = round;
  const { record } = entry;
  const { step, carries } = question;
  const given = carries === undefined ? undefined : talk.heard[carries];
  const preparing = step === "prepare";
  const endMs = preparing ? leaseEndMs(round, record) : undefined;
  const lease = endMs === undefined ? undefined : leaseTerms(host, endMs);
  if (endMs !== undefined && lease === undefined) return;
  const move: Move = {
    id: question.id,
    term: policy.term,
    step,
    vm: record.id,
    attempt: question.attempt,
    waitMs: WAIT_MS,
    ...(preparing ? { subject: subjectOf(round, record) } : {}),
    ...(lease === undefined ? {} : { lease }),
    ...(preparing && given?.xml !== undefined ? { xml: given.xml } : {}),
    ...(step === "perform" && given?.link !== undefined ? { link: given.link } : {}),
    ...(given?.cookie === undefined ? {} : { cookie: given.cookie }),
  };
  const timeoutMs = WAIT_MS + policy.timing.commandTimeoutMs;
  talk.call = { host: host.name, step, dueMs: turn.nowMs + 2 * timeoutMs };
  turn.effect({ kind: "move", host: host.name, move, timeoutMs });
}

/** When a move wants to be looked at again; `undefined` when none does. */
export function movesDueMs({ set }: Pick<Round, "set">, nowMs: number): number | undefined {
  let dueMs: number | undefined;
  for (const { call, retryAtMs } of set.moves.values()) {
    const own = call?.dueMs ?? (retryAtMs > nowMs ? retryAtMs : undefined);
    if (own !== undefined && (dueMs === undefined || own < dueMs)) dueMs = own;
  }
  return dueMs;
}
