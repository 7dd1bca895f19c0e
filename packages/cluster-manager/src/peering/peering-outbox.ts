/** What peers are still to hear about their peering: one question at a time each, repeated until it is answered. */
import { keyFingerprint, type PeeringRequest } from "@muster/broker";
import type { RefusalKind } from "@muster/protocol";
import { pauseMs } from "../core/limits.ts";
import type { Round } from "../core/round.ts";
import { owesWord } from "./peer-book.ts";
import type { PeerRecord } from "./peer-record.ts";
import { dropPeer, putPeer, TELL_FOR_MS } from "./peering-change.ts";
import type { PeeringEvent } from "./peering-event.ts";
import { policyOfTerms, termsOf } from "./terms.ts";

const ANSWER_WITHIN_MS = 5_000;
const RETRY_BASE_MS = 500;
const RETRY_MAX_MS = 60_000;

/** Refusals that pass by themselves: the same is asked again. */
const PASSING: ReadonlySet<RefusalKind> = new Set(["internal", "not-leader", "resource-constraint", "unavailable"]);

/** Sends what is due, and ends what has run out. */
export function attendPeers(round: Round): void {
  const { set, turn } = round;
  for (const record of [...set.peers.records.values()]) {
    if (endOverdue(round, record)) continue;
    const talk = set.peers.talkOf(record.domain);
    const next = nextWordTo(round, record);
    if (next === undefined || talk.call !== undefined || talk.dueMs > turn.nowMs) continue;
    talk.call = turn.newId();
    const keys = next.kind === "succession" ? set.peers.ownKeysSince(record.ours) : [];
    const signWith = keys[talk.signAt % keys.length] ?? record.ours.publicKey;
    const { domain: peer } = record;
    turn.effect({ kind: "peering-send", peer, call: talk.call, request: next, signWith, timeoutMs: ANSWER_WITHIN_MS });
  }
}

/** When the next question or end is due. */
export function peersDueMs({ set }: Pick<Round, "set">, nowMs: number): number | undefined {
  let due: number | undefined;
  const at = (dueMs: number): void => {
    if (due === undefined || dueMs < due) due = dueMs;
  };
  for (const record of set.peers.records.values()) {
    const endMs = endOf(record);
    if (endMs !== undefined) at(endMs);
    const talk = set.peers.talks.get(record.domain);
    if (talk?.call === undefined && nextWordTo({ set }, record) !== undefined) at(talk?.dueMs ?? nowMs);
  }
  return due;
}

export function takePeeringAnswer(
  round: Round,
  { peer, call, outcome }: Extract<PeeringEvent, { readonly kind: "peering-answer" }>,
): void {
  const { set, turn } = round;
  const record = set.peers.records.get(peer);
  const talk = set.peers.talks.get(peer);
  if (record === undefined || talk?.call !== call) return;
  talk.call = undefined;
  if (outcome.kind === "answered") {
    talk.tries = 0;
    talk.signAt = 0;
    talk.trouble = undefined;
    takeWord(round, record, outcome.answer);
  } else {
    talk.trouble = outcome.kind === "refused" ? outcome.refusal.message : outcome.why;
    talk.dueMs = turn.nowMs + pauseMs(talk.tries, RETRY_BASE_MS, RETRY_MAX_MS);
    talk.tries += 1;
    if (outcome.kind === "refused" && !PASSING.has(outcome.refusal.kind)) takeRefusal(round, record, outcome.refusal);
  }
  attendPeers(round);
}

type Answered = Extract<
  Extract<PeeringEvent, { readonly kind: "peering-answer" }>["outcome"],
  { readonly kind: "answered" }
>["answer"];

function takeWord(round: Round, record: PeerRecord, answer: Answered): void {
  const { set, turn } = round;
  if (answer.kind === "accepted") {
    if (record.state !== "invited" || answer.body.invitation !== record.origin.id) return;
    putPeer(round, { ...record, state: "active", sinceMs: turn.nowMs, agreed: policyOfTerms(answer.body.lend) });
    turn.event("peer", record.domain, "the peering is active");
    return;
  }
  if (answer.body.peering !== record.origin.id) return;
  if (answer.kind === "state-taken") {
    const { said } = record;
    if (said !== undefined && said.sequence === answer.body.sequence)
      putPeer(round, { ...record, said: { ...said, told: true } });
    return;
  }
  const { ownKey } = set.peers;
  if (ownKey === undefined || ownKey.sequence !== answer.body.keySequence) return;
  putPeer(round, { ...record, ours: ownKey });
  turn.event("peer", record.domain, `it has pinned our key ${keyFingerprint(ownKey.publicKey)}`);
}

function takeRefusal(
  round: Round,
  record: PeerRecord,
  { reason, message }: { readonly reason: string; readonly message: string },
): void {
  const { set, turn } = round;
  const talk = set.peers.talkOf(record.domain);
  if (record.state === "invited") {
    const { said: _said, ...rest } = record;
    const why = `${record.domain} did not take the acceptance: ${message}`.slice(0, 500);
    putPeer(round, { ...rest, state: "left", sinceMs: turn.nowMs, reason: why });
    turn.event("peer", record.domain, why);
    return;
  }
  // Whether it pinned a later key without our hearing of it shows when it is asked with that one.
  if (reason === "bad-signature") talk.signAt += 1;
  const over = reason === "no-peering" || reason === "other-peering" || reason === "peering-left";
  if (record.state === "left" && over && record.said !== undefined)
    putPeer(round, { ...record, said: { ...record.said, told: true } });
}

function nextWordTo({ set }: Pick<Round, "set">, record: PeerRecord): PeeringRequest | undefined {
  const { state, origin, said, ours, lend, reason, domain } = record;
  if (set.peers.configured.has(domain)) return undefined;
  if (state === "invited") return origin.role === "acceptor" ? { kind: "accept", body: origin.accept } : undefined;
  const { ownKey, siteKey } = set.peers;
  if (state !== "left" && ownKey !== undefined && siteKey !== undefined && ours.sequence < ownKey.sequence) {
    const { overlapMs } = siteKey;
    const { publicKey: key, sequence: keySequence } = ownKey;
    return { kind: "succession", body: { peering: origin.id, key, keySequence, overlapMs } };
  }
  if (said === undefined || !owesWord(record)) return undefined;
  const because = reason === undefined ? {} : { reason };
  const { sequence } = said;
  return { kind: "state", body: { peering: origin.id, sequence, state, ...because, lend: termsOf(lend) } };
}

function endOf({ state, origin, said, key, lingerUntilMs }: PeerRecord): number | undefined {
  if (state === "invited") return origin.expiresAtMs + (origin.role === "inviter" ? 0 : TELL_FOR_MS);
  if (state !== "left") return undefined;
  return lingerUntilMs ?? (key !== undefined && said?.told === false ? said.giveUpAtMs : undefined);
}

/** An invitation that nobody took up goes; what nobody wants to hear is not said for ever. */
function endOverdue(round: Round, record: PeerRecord): boolean {
  const { turn } = round;
  const endMs = endOf(record);
  if (endMs === undefined || endMs > turn.nowMs) return false;
  if (record.state === "invited") {
    dropPeer(round, record.domain);
    turn.event("peer", record.domain, "the invitation has run out");
    return true;
  }
  const { lingerUntilMs, said, ...rest } = record;
  if (lingerUntilMs !== undefined) putPeer(round, { ...rest, ...(said === undefined ? {} : { said }) });
  else if (said !== undefined) putPeer(round, { ...record, said: { ...said, told: true } });
  return true;
}
