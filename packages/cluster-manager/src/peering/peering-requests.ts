/** What peers say about a peering, after the door verified its signature (B5): default deny. */
import { assertNever, err, ok, type Result } from "@muster/base";
import { checkInvitation, type PeeringAnswer } from "@muster/broker";
import { type Accept, digestOf, type PeerState, type Refusal, refusal, type Succession } from "@muster/protocol";
import type { Round } from "../core/round.ts";
import type { PeerRecord } from "./peer-record.ts";
import { LINGER_MS, putPeer } from "./peering-change.ts";
import type { PeeringEvent } from "./peering-event.ts";
import { attendPeers } from "./peering-outbox.ts";
import { policyOfTerms, termsOf } from "./terms.ts";

export function takePeeringRequest(
  round: Round,
  { ticket, peer, request }: Extract<PeeringEvent, { readonly kind: "peering-request" }>,
): void {
  const record = round.set.peers.configured.has(peer) ? undefined : round.set.peers.records.get(peer);
  const answer = record === undefined ? err(noPeering()) : answerTo(round, record, request);
  round.turn.answer(
    ticket,
    answer.ok ? { kind: "peering", answer: answer.value } : { kind: "refused", refusal: answer.error },
  );
  attendPeers(round);
}

function answerTo(
  round: Round,
  record: PeerRecord,
  request: Extract<PeeringEvent, { readonly kind: "peering-request" }>["request"],
): Result<PeeringAnswer, Refusal> {
  switch (request.kind) {
    case "accept":
      return takeAccept(round, record, request.body);
    case "state":
      return takeState(round, record, request.body);
    case "succession":
      return takeSuccession(round, record, request.body);
    default:
      return assertNever(request);
  }
}

/** The invited site accepts. Once: a repeat gets the same answer, another content or an old token is refused (B1). */
function takeAccept(round: Round, record: PeerRecord, accept: Accept): Result<PeeringAnswer, Refusal> {
  const { turn, policy } = round;
  const { origin } = record;
  if (origin.role !== "inviter" || origin.id !== accept.invitation)
    return err(refusal("forbidden", "unknown-invitation", "no such invitation of your site is open here"));
  const digest = digestOf(accept);
  if (origin.digest !== undefined) {
    if (origin.digest !== digest)
      return err(refusal("conflict", "invitation-used", "the invitation was accepted already; ask for another one"));
    if (record.state === "left") return err(refusal("forbidden", "peering-left", "the peering was left"));
    return ok(acceptedOf(record));
  }
  if (record.state !== "invited")
    return err(refusal("forbidden", "invitation-withdrawn", "the invitation was withdrawn"));
  if (origin.expiresAtMs <= turn.nowMs)
    return err(refusal("forbidden", "invitation-expired", "the invitation has expired; ask for another one"));
  const claim = {
    invitation: accept.invitation,
    inviter: policy.domain,
    inviterKey: record.ours.publicKey,
    acceptor: record.domain,
    acceptorKey: accept.key,
    acceptorKeySequence: accept.keySequence,
  };
  if (!checkInvitation(origin.proofKey, claim, accept.proof))
    return err(refusal("not-authorized", "bad-proof", "the proof is not that of the invitation's token"));
  const active: PeerRecord = {
    ...record,
    state: "active",
    sinceMs: turn.nowMs,
    agreed: policyOfTerms(accept.lend),
    key: { publicKey: accept.key, sequence: accept.keySequence },
    origin: { ...origin, digest },
  };
  putPeer(round, active);
  turn.event("peer", record.domain, "the peering is active: the invitation was accepted");
  return ok(acceptedOf(active));
}

function acceptedOf({ origin, lend, borrow }: PeerRecord): PeeringAnswer {
  return { kind: "accepted", body: { invitation: origin.id, lend: termsOf(lend), borrow } };
}

function takeState(round: Round, record: PeerRecord, said: PeerState): Result<PeeringAnswer, Refusal> {
  const refused = notInForce(record, said.peering);
  if (refused !== undefined) return err(refused);
  const answer = { kind: "state-taken", body: { peering: said.peering, sequence: said.sequence } } as const;
  if (said.sequence <= (record.partner?.sequence ?? 0)) return ok(answer);
  const { turn } = round;
  const { state, reason, sequence, lend } = said;
  const partner = { state, sequence, ...(reason === undefined ? {} : { reason }) };
  const heard = { ...record, partner, agreed: policyOfTerms(lend) };
  const line = `${state}${reason === undefined ? "" : `: ${reason}`}`;
  if (record.partner?.state !== state) turn.event("peer", record.domain, `it holds the peering as ${line}`);
  if (state !== "left" || record.state === "left") {
    putPeer(round, heard);
    return ok(answer);
  }
  // There is nothing left to tell a partner that is gone.
  const { said: _said, ...rest } = heard;
  putPeer(round, {
    ...rest,
    state: "left",
    sinceMs: turn.nowMs,
    reason: `${record.domain} has ${line}`.slice(0, 500),
    lingerUntilMs: turn.nowMs + LINGER_MS,
  });
  return ok(answer);
}

/** The partner's next key, under the signature of the one before: only forward, and the same again is the same. */
function takeSuccession(round: Round, record: PeerRecord, next: Succession): Result<PeeringAnswer, Refusal> {
  const refused = notInForce(record, next.peering);
  if (refused !== undefined) return err(refused);
  const { key } = record;
  if (key === undefined) return err(noPeering());
  const body = { peering: next.peering, keySequence: next.keySequence };
  if (next.keySequence === key.sequence && next.key === key.publicKey) {
    // Where both sites changed keys at once, each may know a later one of the other than that takes it for known.
    round.set.peers.talkOf(record.domain).answerAt += 1;
    return ok({ kind: "succession-taken", body });
  }
  if (next.keySequence <= key.sequence) {
    const message = `key ${key.sequence} of your site is pinned here: a succession has a higher sequence`;
    return err(refusal("conflict", "stale-succession", message, { field: "keySequence" }));
  }
  const { turn } = round;
  putPeer(round, {
    ...record,
    key: { publicKey: next.key, sequence: next.keySequence },
    earlierKey: { publicKey: key.publicKey, untilMs: turn.nowMs + next.overlapMs },
  });
  turn.event("peer", record.domain, `its key ${next.keySequence} is pinned, by succession`);
  return ok({ kind: "succession-taken", body });
}

function notInForce({ state, origin, key }: PeerRecord, peering: string): Refusal | undefined {
  if (key === undefined || state === "invited") return noPeering();
  if (origin.id !== peering)
    return refusal("forbidden", "other-peering", "that was said of an earlier peering", { field: "peering" });
  return undefined;
}

function noPeering(): Refusal {
  return refusal("forbidden", "no-peering", "this site has no peering with yours; ask its admin for one");
}
