/** What peers do is noted, told and, where the admin set a rule, answered with a suspension. */
import {
  forgive,
  newConduct,
  noteOffence,
  notePromise,
  type Offence,
  reliabilityOf,
  suspensionBy,
} from "@muster/broker";
import type { ConductView } from "@muster/protocol";
import type { Round } from "../core/round.ts";
import type { ConductRecord, Halt } from "./conduct-record.ts";
import type { PeerBook } from "./peer-book.ts";
import { enter } from "./peering-change.ts";
import type { PeeringEvent } from "./peering-event.ts";

/** A lease of the peer came to run, or was over without. */
export function takePromise(round: Round, peer: string, name: string, wasKept: boolean): void {
  const before = conductOf(round.set.peers, peer);
  const after = { ...before, ...notePromise(before, wasKept) };
  putConduct(round, after);
  if (wasKept) return;
  const score = `reliability ${reliabilityOf(before).toFixed(2)} \u2192 ${reliabilityOf(after).toFixed(2)}`;
  round.turn.event("peer", peer, `it granted a lease and never ran ${name}: ${score}`);
}

/** Offences that a door or the ledger met. Nobody but a peer has a conduct: strangers are forgotten at the door (S2). */
export function takeOffence(round: Round, said: Omit<Extract<PeeringEvent, { kind: "peer-offence" }>, "kind">): void {
  const { set, turn } = round;
  const { peer, offence, message, count } = said;
  const peering = set.peers.find(peer, turn.nowMs);
  if (peering === undefined) return;
  const before = conductOf(set.peers, peer);
  const after = { ...before, ...noteOffence(before, { offence, message, count }, turn.nowMs) };
  putConduct(round, after);
  turn.event("peer", peer, `${count === 1 ? "" : `${count} times `}${WORDS[offence]}: ${message}`.slice(0, 500));
  const why = suspensionBy(peering.lend.suspendAfter, after, turn.nowMs);
  if (why === undefined || peering.state === "suspended") return;
  const record = set.peers.records.get(peer);
  if (set.peers.configured.has(peer)) halt(round, peer, { state: "suspended", reason: why, sinceMs: turn.nowMs });
  else if (record !== undefined) enter(round, record, "suspended", why);
}

const WORDS: Readonly<Record<Offence, string>> = {
  signature: "a message without its signature was refused",
  malformed: "a malformed message was refused",
  flood: "messages beyond its rate were refused",
  receipt: "a false receipt",
};

/** Suspends or drains a peering of the configuration until an admin resumes it; `undefined` resumes. */
export function halt(round: Round, peer: string, state: Halt | undefined): void {
  const { halt: _before, ...rest } = conductOf(round.set.peers, peer);
  putConduct(round, state === undefined ? { ...rest, ...forgive(rest) } : { ...rest, halt: state });
  const because = state?.reason === undefined ? "" : `: ${state.reason}`;
  round.turn.event("peer", peer, `the peering is ${state?.state ?? "active"}${because}`);
  // Who waits may go to another peer now, or to none; and it is shown something else.
  round.set.wake();
  round.turn.effect({ kind: "contact-changed", contact: { kind: "site" } });
}

/** An admin resumed the peer: what it did counts towards no other suspension. */
export function forgivePeer(round: Round, peer: string): void {
  const known = round.set.peers.conducts.get(peer);
  if (known !== undefined && known.graveAtMs.length > 0) putConduct(round, { ...known, ...forgive(known) });
}

export function conductView(book: PeerBook, domain: string): ConductView | undefined {
  const known = book.conducts.get(domain);
  if (known === undefined) return undefined;
  const { kept, broken, offences, last } = known;
  const at = last === undefined ? "" : new Date(last.atMs).toISOString();
  return {
    reliability: Math.round(reliabilityOf(known) * 1_000) / 1_000,
    kept,
    broken,
    offences: { ...offences },
    ...(last === undefined ? {} : { lastOffence: { kind: last.offence, message: last.message, at } }),
  };
}

export function peerReliability(book: PeerBook, domain: string): number {
  const known = book.conducts.get(domain);
  return known === undefined ? 1 : reliabilityOf(known);
}

function conductOf(book: PeerBook, domain: string): ConductRecord {
  return book.conducts.get(domain) ?? newConduct(domain);
}

function putConduct({ set, turn }: Round, record: ConductRecord): void {
  set.peers.conducts.set(record.domain, record);
  turn.put(`conduct/${record.domain}`, record);
}
