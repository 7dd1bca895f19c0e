/**
 * The peerings in the working set: those of the configuration and those made by invitation. Core, lender, borrower and the
 * XMPP face ask here every time, so that a change counts at once.
 */
import { mayBorrow, type Peering, type PinnedPeer } from "@muster/broker";
import { domainOf } from "@muster/protocol";
import type { ConductRecord } from "./conduct-record.ts";
import type { PeerRecord, PinnedKey, SiteKeyRecord } from "./peer-record.ts";
import { type ClientReach, type ConfiguredPeering, doorOf, type Reach } from "./reach.ts";

/** What is under way with a peer about the peering; soft. */
export type PeerTalk = {
  call: string | undefined;
  tries: number;
  dueMs: number;
  /**
   * Which key signs the next succession, counted on from the one that we take for pinned: the partner refused those before, so
   * it may have pinned a later one of which we did not hear.
   */
  signAt: number;
  /** The same for our answers: a succession that is told again was answered by a key that the partner does not know. */
  answerAt: number;
  trouble: string | undefined;
};

export class PeerBook {
  readonly configured: ReadonlyMap<string, ConfiguredPeering>;
  readonly records = new Map<string, PeerRecord>();
  readonly talks = new Map<string, PeerTalk>();
  /** How peers have behaved; also of those that were left, who may come back. */
  readonly conducts = new Map<string, ConductRecord>();
  /** Set by the first succession; before it, the first key of the file signs. */
  siteKey: SiteKeyRecord | undefined;
  readonly #ownKeys: () => readonly string[];

  constructor(configured: readonly ConfiguredPeering[], ownKeys: () => readonly string[] = () => []) {
    this.configured = new Map(configured.map((peering) => [peering.domain, peering]));
    this.#ownKeys = ownKeys;
  }

  /** Our key as peers are to pin it; `undefined` where the site has no key file. */
  get ownKey(): PinnedKey | undefined {
    if (this.siteKey !== undefined) return { publicKey: this.siteKey.publicKey, sequence: this.siteKey.sequence };
    const [first] = this.#ownKeys();
    return first === undefined ? undefined : { publicKey: first, sequence: 1 };
  }

  /** Keys that a partner may have pinned by now: from the one of which we know it, up to the present one. */
  ownKeysSince({ publicKey }: PinnedKey): readonly string[] {
    const all = this.#ownKeys();
    const [first, last] = [all.indexOf(publicKey), all.indexOf(this.ownKey?.publicKey ?? "")];
    return first < 0 || last < first ? [publicKey] : all.slice(first, last + 1);
  }

  /** The peering that is in force with the domain: neither an invitation nor one that was left. */
  find(domain: string, nowMs: number): Peering | undefined {
    const configured = this.configured.get(domain);
    if (configured !== undefined) return this.#halted(configured);
    const record = this.records.get(domain);
    return record === undefined ? undefined : peeringOf(record, nowMs);
  }

  *all(nowMs: number): Generator<Peering> {
    for (const peering of this.configured.values()) yield this.#halted(peering);
    for (const record of this.records.values()) {
      const peering = this.configured.has(record.domain) ? undefined : peeringOf(record, nowMs);
      if (peering !== undefined) yield peering;
    }
  }

  mayBorrow(nowMs: number): boolean {
    for (const peering of this.all(nowMs)) if (mayBorrow(peering)) return true;
    return false;
  }

  /** By which keys the domain and we speak about the peering, whatever its state; `undefined` where no key is known yet. */
  pinned(domain: string, nowMs: number): PinnedPeer | undefined {
    const record = this.records.get(domain);
    const pinned = record === undefined || this.configured.has(domain) ? undefined : pinnedOf(record, nowMs);
    if (record === undefined || pinned === undefined) return undefined;
    const keys = this.ownKeysSince(record.ours);
    return { ...pinned, signWith: keys[(this.talks.get(domain)?.answerAt ?? 0) % keys.length] };
  }

  /** Everyone whom the XMPP server is to let in, and to carry our words to: exact domains. */
  door(own: string): string[] {
    const open = new Set<string>();
    for (const { domain, reach } of this.#letIn()) {
      const at = doorOf(domain, reach, own);
      if (at !== undefined) open.add(at);
    }
    return [...open].sort();
  }

  /** How the peer is reached where it is let in and not spoken to from server to server. */
  reachOf(domain: string): Reach | undefined {
    const configured = this.configured.get(domain);
    if (configured !== undefined) return configured.reach;
    const record = this.records.get(domain);
    return record === undefined || !isLetIn(record) ? undefined : record.reach;
  }

  /** The peer that comes as this account. */
  ownerOf(jid: string): string | undefined {
    for (const { domain, reach } of this.#letIn()) if (reach?.kind === "account" && reach.jid === jid) return domain;
    return undefined;
  }

  /** Peers at which we are to be logged in. */
  logins(): readonly { readonly domain: string; readonly reach: ClientReach }[] {
    return [...this.#letIn()].flatMap(({ domain, reach }) => (reach?.kind === "client" ? [{ domain, reach }] : []));
  }

  /** Accounts that our server has for peers; those of peerings that are over are no more among them. */
  accounts(own: string): { readonly open: readonly string[]; readonly over: readonly string[] } {
    const open = new Set<string>();
    for (const { reach } of this.#letIn()) if (reach?.kind === "account") open.add(reach.jid);
    const over = [...this.records.values()].flatMap(({ reach }) =>
      reach?.kind === "account" && !open.has(reach.jid) ? [reach.jid] : [],
    );
    const isOurs = (jid: string): boolean => domainOf(jid) === own;
    return { open: [...open].filter(isOurs), over: over.filter(isOurs) };
  }

  /** Changes whenever somebody else is let in, or comes another way. */
  get mark(): string {
    return [...this.#letIn()].map(({ domain, reach }) => `${domain} ${reach?.kind ?? ""} ${reach?.jid ?? ""}`).join();
  }

  *#letIn(): Generator<{ readonly domain: string; readonly reach?: Reach | undefined }> {
    yield* this.configured.values();
    for (const record of this.records.values())
      if (!this.configured.has(record.domain) && isLetIn(record)) yield record;
  }

  /** As the configuration has it, but for what was halted at run time. */
  #halted(peering: Peering): Peering {
    const halt = this.conducts.get(peering.domain)?.halt;
    return halt === undefined || peering.state !== "active" ? peering : { ...peering, state: halt.state };
  }

  talkOf(domain: string): PeerTalk {
    const known = this.talks.get(domain);
    if (known !== undefined) return known;
    const talk = { call: undefined, tries: 0, dueMs: 0, signAt: 0, answerAt: 0, trouble: undefined };
    this.talks.set(domain, talk);
    return talk;
  }
}

/** A peering that is over needs no way in, but for the last words about its end. */
function isLetIn(record: PeerRecord): boolean {
  return record.state !== "left" || record.lingerUntilMs !== undefined || owesWord(record);
}

/** Whether the partner is still to hear of our side. */
export function owesWord({ said, key }: PeerRecord): boolean {
  return said !== undefined && !said.told && key !== undefined;
}

function peeringOf(record: PeerRecord, nowMs: number): Peering | undefined {
  const pinned = pinnedOf(record, nowMs);
  if (pinned === undefined || record.state === "invited" || record.state === "left") return undefined;
  const { lend, borrow, state, partner } = record;
  const partnerState = partner === undefined || partner.state === "left" ? undefined : partner.state;
  return { ...pinned, lend, borrow, state, ...(partnerState === undefined ? {} : { partnerState }) };
}

function pinnedOf({ domain, key, earlierKey, ours }: PeerRecord, nowMs: number): PinnedPeer | undefined {
  if (key === undefined) return undefined;
  const earlier = earlierKey !== undefined && earlierKey.untilMs > nowMs ? { earlierKey: earlierKey.publicKey } : {};
  return { domain, publicKey: key.publicKey, ...earlier, signWith: ours.publicKey };
}
