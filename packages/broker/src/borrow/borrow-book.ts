/** The borrower's working set: exchanges from the store, and around them what may be lost at any time. */
import type { CandidateView, Offer, Refusal, SitePresence } from "@muster/protocol";
import type { BorrowRecord, BorrowWant, SpentRecord } from "./borrower-contract.ts";

/** An open exchange: the stored record, and the chase for its next answer. */
export type Exchange = {
  record: BorrowRecord;
  /** The question under way, where it is this exchange's own. */
  call: string | undefined;
  /** Asks without an answer since the last one. */
  tries: number;
  /** When to ask next. */
  nextAtMs: number;
  /** When asking for the hold or lease is given up and cancelled. */
  giveUpAtMs: number;
  /** Whether an answer may be missing: then only a confirmed release ends it (B2). */
  unsure: boolean;
  /** What the lender was last told the VM is to be. */
  toldWanted: BorrowRecord["wanted"] | undefined;
  /** Public key of our end of the tunnel that the lender was last told, and the one that is on its way to it. */
  toldKey: string | undefined;
  sentKey: string | undefined;
};

/** What a call was about; its answer is taken only for that. */
export type Purpose =
  /** `cursor` as it was at the asking: a sequence below it has gone back. */
  | { readonly kind: "offer"; readonly cursor: number }
  | { readonly kind: "pull"; readonly since: number }
  | { readonly kind: "hold" | "lease" | "release"; readonly id: string }
  | { readonly kind: "renew"; readonly wanted: ReadonlyMap<string, "running" | "paused" | "stopped"> };

export type Call = {
  readonly peer: string;
  readonly purpose: Purpose;
  readonly askedAtMs: number;
  /** When it counts as unanswered although nobody said so. */
  readonly overdueAtMs: number;
};

export type Want = BorrowWant;

/** A VM that looks for a peer: one round goes through each peer at most once. */
export type Search = {
  readonly want: Want;
  /** Offers are waited for until then; `undefined` while an exchange of this search is open. */
  waitUntilMs: number | undefined;
  readonly refusals: Map<string, Refusal>;
};

/** The pause after a round without success, and what came of the round. */
export type Rest = {
  readonly untilMs: number;
  readonly rounds: number;
  readonly candidates: readonly CandidateView[];
  readonly refusal: Refusal;
};

/** What we know of a peer: all of it soft. */
export type PeerState = {
  readonly domain: string;
  reachable: "unknown" | "yes" | "no";
  offer: Offer | undefined;
  /** When the offer that we have was asked for: what we hold since then it may not count. */
  offerAskedMs: number;
  /** What it shows in its presence, and when it said so. */
  presence: SitePresence | undefined;
  presenceAtMs: number;
  /** Why the peer gave no offer. */
  refusal: Refusal | undefined;
  lastHeardMs: number | undefined;
  offerCall: string | undefined;
  nextOfferMs: number;
  renewCall: string | undefined;
  pullCall: string | undefined;
  /** Everything up to this revision of the peer's has been taken in. */
  cursor: number;
  /** How long its answers to offer queries take. */
  answerMs: number | undefined;
};

export type BorrowBook = {
  readonly open: Map<string, Exchange>;
  readonly openByVm: Map<string, Exchange>;
  /** In the order of closing. */
  readonly closed: Map<string, BorrowRecord>;
  readonly calls: Map<string, Call>;
  readonly searches: Map<string, Search>;
  readonly rests: Map<string, Rest>;
  readonly peers: Map<string, PeerState>;
  /** Closed exchanges that wait for an admin of the lender, by `<vm>/<peer>`. */
  readonly awaiting: Map<string, string>;
  /** Peers that took a VM's room back: not asked for the same VM again for a while. By VM, then peer; soft. */
  readonly tookBack: Map<string, Map<string, { readonly untilMs: number; readonly why: Refusal }>>;
  /** What projects spent, by name. */
  readonly spent: Map<string, SpentRecord>;
  /** Whether a step saw the peerings since the load. */
  started: boolean;
};

/** Fills the book from the store; every open exchange is due to be asked about at once. */
export function loadBorrowBook(records: Iterable<BorrowRecord>, spent: Iterable<SpentRecord> = []): BorrowBook {
  const book: BorrowBook = {
    open: new Map(),
    openByVm: new Map(),
    closed: new Map(),
    calls: new Map(),
    searches: new Map(),
    rests: new Map(),
    peers: new Map(),
    awaiting: new Map(),
    tookBack: new Map(),
    spent: new Map([...spent].map((record) => [record.project, record])),
    started: false,
  };
  for (const record of [...records].sort((left, right) => left.changedAtMs - right.changedAtMs)) {
    if (record.stage === "closed") {
      book.closed.set(record.id, record);
      if (record.awaitsApproval === true) book.awaiting.set(`${record.vm}/${record.peer}`, record.id);
    } else open(book, record);
  }
  return book;
}

/** Files an open exchange. One from the store may have been asked for before: its answer may be missing. */
export function open(book: BorrowBook, record: BorrowRecord, giveUpAtMs?: number): Exchange {
  const exchange: Exchange = {
    record,
    call: undefined,
    tries: 0,
    nextAtMs: 0,
    giveUpAtMs: giveUpAtMs ?? 0,
    unsure: giveUpAtMs === undefined,
    toldWanted: giveUpAtMs === undefined ? undefined : "running",
    toldKey: undefined,
    sentKey: undefined,
  };
  book.open.set(record.id, exchange);
  book.openByVm.set(record.vm, exchange);
  return exchange;
}

export function peerState(book: BorrowBook, domain: string): PeerState {
  const known = book.peers.get(domain);
  if (known !== undefined) return known;
  const made: PeerState = {
    domain,
    reachable: "unknown",
    offer: undefined,
    offerAskedMs: Number.NEGATIVE_INFINITY,
    presence: undefined,
    presenceAtMs: Number.NEGATIVE_INFINITY,
    refusal: undefined,
    lastHeardMs: undefined,
    offerCall: undefined,
    nextOfferMs: 0,
    renewCall: undefined,
    pullCall: undefined,
    cursor: 0,
    answerMs: undefined,
  };
  book.peers.set(domain, made);
  return made;
}

export function exchangesAt(book: BorrowBook, peer: string): Exchange[] {
  return [...book.open.values()].filter(({ record }) => record.peer === peer);
}
