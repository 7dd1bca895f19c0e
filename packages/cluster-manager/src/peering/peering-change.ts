/** The ways in which the record of a peering changes. */
import type { Round } from "../core/round.ts";
import type { PeerRecord } from "./peer-record.ts";

/** How long a partner that left is let in, so that our answer reaches it, and a repeat of its word reaches us. */
export const LINGER_MS = 20_000;
/** How long a partner that is away is told about our side. */
export const TELL_FOR_MS = 7 * 24 * 3_600_000;

export function putPeer({ set, turn }: Round, record: PeerRecord): void {
  const before = set.peers.mark;
  set.peers.records.set(record.domain, record);
  turn.put(`peer/${record.domain}`, record);
  if (set.peers.mark !== before) turn.effect({ kind: "peers-changed" });
  // Who waits may go to another peer now, or to none; and it is shown something else.
  set.wake();
  turn.effect({ kind: "contact-changed", contact: { kind: "site" } });
}

export function dropPeer({ set, turn }: Round, domain: string): void {
  set.peers.records.delete(domain);
  set.peers.talks.delete(domain);
  turn.delete(`peer/${domain}`);
  turn.effect({ kind: "peers-changed" });
}

/** What we say of our side from now on; rising also when the clock went back. */
export function nextWord({ turn }: Round, { said }: Pick<PeerRecord, "said">): NonNullable<PeerRecord["said"]> {
  const sequence = Math.max((said?.sequence ?? 0) + 1, Math.floor(turn.nowMs));
  return { sequence, told: false, giveUpAtMs: turn.nowMs + TELL_FOR_MS };
}

/** The peering is in this state from now on, and the partner is to hear of it. */
export function enter(round: Round, record: PeerRecord, state: PeerRecord["state"], reason: string | undefined): void {
  const { reason: _before, lingerUntilMs: _until, ...rest } = record;
  const sinceMs = record.state === state ? record.sinceMs : round.turn.nowMs;
  const said = nextWord(round, record);
  round.set.peers.talks.delete(record.domain);
  putPeer(round, { ...rest, state, sinceMs, said, ...(reason === undefined ? {} : { reason }) });
  round.turn.event("peer", record.domain, `the peering is ${state}${reason === undefined ? "" : `: ${reason}`}`);
}
