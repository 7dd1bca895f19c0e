/** The lender's working set: every exchange by peer, open ones apart from those that are only remembered. */
import type { ExchangeStage } from "@muster/protocol";
import type { LendRecord, UsedTime } from "./lender-contract.ts";

/** Everything of one peer. `closed` stands in the order of closing, so that the first is forgotten first. */
export type PeerBook = {
  readonly domain: string;
  readonly open: Map<string, LendRecord>;
  readonly closed: Map<string, LendRecord>;
  /** Highest revision given out; the record that has it is `newest`. */
  revision: number;
  newest: LendRecord | undefined;
  /** Highest term seen of this peer's leaders (L2). */
  term: number;
  /** Time of its VMs that are gone, in the period. */
  used: UsedTime | undefined;
};

export type LendBook = {
  readonly peers: Map<string, PeerBook>;
  /** When to order a removal again, by `<peer>/<id>`; soft. */
  readonly removeAgainMs: Map<string, number>;
  /** When the next expiry, repeat or forgetting is due; `undefined` when nothing is. */
  dueMs: number | undefined;
};

export function emptyLendBook(): LendBook {
  return { peers: new Map(), removeAgainMs: new Map(), dueMs: undefined };
}

/** Fills the book from the store. What is due is found out by the first step. */
export function loadLendBook(records: Iterable<LendRecord>): LendBook {
  const book = emptyLendBook();
  for (const record of [...records].sort((left, right) => left.revision - right.revision)) {
    file(peerBook(book, record.peer), record);
    book.dueMs = 0;
  }
  return book;
}

/** The peer's part, made where missing: call it only for a peer that is let in. */
export function peerBook(book: LendBook, domain: string): PeerBook {
  const known = book.peers.get(domain);
  if (known !== undefined) return known;
  const made = emptyPeerBook(domain);
  book.peers.set(domain, made);
  return made;
}

export function emptyPeerBook(domain: string): PeerBook {
  return { domain, open: new Map(), closed: new Map(), revision: 0, newest: undefined, term: 0, used: undefined };
}

export function findIn(peer: PeerBook, id: string): LendRecord | undefined {
  return peer.open.get(id) ?? peer.closed.get(id);
}

/** Puts the record where its stage belongs and keeps the peer's water marks. */
export function file(peer: PeerBook, record: LendRecord): void {
  if (isOpen(record.stage)) {
    // One that waited for approval was closed.
    peer.closed.delete(record.id);
    peer.open.set(record.id, record);
  } else {
    peer.open.delete(record.id);
    peer.closed.set(record.id, record);
  }
  peer.term = Math.max(peer.term, record.term ?? 0);
  if (record.revision >= peer.revision) {
    peer.revision = record.revision;
    peer.newest = record;
    peer.used = record.used;
  }
}

/** Open exchanges take capacity: held, leased, or with a VM that is not gone yet. */
export function isOpen(stage: ExchangeStage): boolean {
  return stage === "held" || stage === "leased" || stage === "releasing";
}
