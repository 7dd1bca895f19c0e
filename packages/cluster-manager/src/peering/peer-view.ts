/** Peers as the API shows them: those of the configuration and those by invitation, with what is known of them. */
import { keyFingerprint, type LenderPolicy, type PeerStanding } from "@muster/broker";
import type { PeerPolicyView, PeerView, SiteKeyView } from "@muster/protocol";
import type { World } from "../core/views.ts";
import { owesWord, type PeerBook } from "./peer-book.ts";
import { conductView } from "./peer-conduct.ts";
import type { PeerRecord } from "./peer-record.ts";
import type { ConfiguredPeering, Reach } from "./reach.ts";

/** Sorted by domain. */
export function peerViews({ set, lender, borrower }: World, nowMs: number): PeerView[] {
  const standing = new Map([...borrower.standing()].map((peer) => [peer.domain, peer]));
  const borrowed = countByPeer([...borrower.records()].filter(({ stage }) => stage === "leased"));
  const lent = countByPeer([...lender.records()].filter(({ stage }) => stage === "leased" || stage === "releasing"));
  const counts = (domain: string) => ({
    borrowedLeases: borrowed.get(domain) ?? 0,
    lentLeases: lent.get(domain) ?? 0,
  });
  const views = [...set.peers.configured.values()].map((configured) => ({
    ...configuredView(set.peers, set.peers.find(configured.domain, nowMs) ?? configured, standing),
    ...counts(configured.domain),
  }));
  for (const record of set.peers.records.values())
    if (!set.peers.configured.has(record.domain))
      views.push({
        ...storedView(set.peers, record, standing.get(record.domain), nowMs),
        ...counts(record.domain),
      });
  return views.sort((left, right) => (left.domain < right.domain ? -1 : 1));
}

export function siteKeyView({ ownKey, records, configured }: PeerBook): SiteKeyView | undefined {
  if (ownKey === undefined) return undefined;
  const waiting = [...records.values()].filter(
    ({ state, ours }) => state !== "left" && state !== "invited" && ours.sequence < ownKey.sequence,
  );
  return {
    fingerprint: keyFingerprint(ownKey.publicKey),
    sequence: ownKey.sequence,
    waitingFor: waiting.map(({ domain }) => domain).sort(),
    byHand: [...configured.keys()].sort(),
  };
}

type Uncounted = Omit<PeerView, "borrowedLeases" | "lentLeases">;

function configuredView(
  book: PeerBook,
  peering: ConfiguredPeering,
  standing: ReadonlyMap<string, PeerStanding>,
): Uncounted {
  const { domain } = peering;
  const known = standing.get(domain);
  const halt = book.conducts.get(domain)?.halt;
  const reached = { yes: "active", no: "unreachable", unknown: "unknown" } as const;
  return {
    domain,
    ...(halt?.reason === undefined ? {} : { reason: halt.reason }),
    ...(halt === undefined ? {} : { since: timeOf(halt.sinceMs) }),
    ...conductPart(book, domain),
    state: peering.state === "active" ? reached[known?.reachable ?? "unknown"] : peering.state,
    source: "config",
    keyFingerprint: keyFingerprint(peering.publicKey),
    ...reachView(peering.reach),
    told: true,
    borrow: peering.borrow,
    policy: policyView(peering.lend),
    ...heard(known),
  };
}

function storedView(book: PeerBook, record: PeerRecord, known: PeerStanding | undefined, nowMs: number): Uncounted {
  const { domain, state, key, earlierKey, ours, origin, partner, agreed } = record;
  const trouble = book.talks.get(domain)?.trouble;
  const partnerView = partner === undefined ? undefined : { state: partner.state, reason: partner.reason };
  return {
    domain,
    state: state === "active" && known?.reachable === "no" ? "unreachable" : state,
    ...(record.reason === undefined ? {} : { reason: record.reason }),
    ...conductPart(book, domain),
    source: "stored",
    keyFingerprint: key === undefined ? "" : keyFingerprint(key.publicKey),
    ...(key === undefined ? {} : { keySequence: key.sequence }),
    ...(earlierKey === undefined || earlierKey.untilMs <= nowMs
      ? {}
      : { earlierKey: { fingerprint: keyFingerprint(earlierKey.publicKey), until: timeOf(earlierKey.untilMs) } }),
    ourKey: { fingerprint: keyFingerprint(ours.publicKey), sequence: ours.sequence },
    ...(partnerView === undefined ? {} : { partner: partnerView }),
    told: !owesWord(record),
    ...reachView(record.reach),
    ...(trouble === undefined ? {} : { trouble }),
    since: timeOf(record.sinceMs),
    ...(state === "invited"
      ? { invitation: { id: origin.id, role: origin.role, expiresAt: timeOf(origin.expiresAtMs) } }
      : {}),
    borrow: record.borrow,
    policy: policyView(record.lend),
    ...(agreed === undefined ? {} : { agreed: policyView(agreed) }),
    // What was offered before the end is on offer no more.
    ...(state === "left" ? {} : heard(known)),
  };
}

function conductPart(book: PeerBook, domain: string): Pick<PeerView, "conduct"> {
  const conduct = conductView(book, domain);
  return conduct === undefined ? {} : { conduct };
}

/** Without what lets anybody in. */
function reachView(reach: Reach | undefined): Pick<PeerView, "reach"> {
  if (reach === undefined) return {};
  const { kind, jid } = reach;
  return { reach: { kind, jid, ...(kind === "client" ? { service: reach.service } : {}) } };
}

function heard(known: PeerStanding | undefined): Pick<PeerView, "offered" | "lastHeardMs" | "presence"> {
  const offer = known?.offer;
  const reason = offer?.reason === undefined ? {} : { reason: offer.reason };
  return {
    ...(offer === undefined ? {} : { offered: { accepting: offer.accepting, free: offer.free, ...reason } }),
    ...(known?.presence === undefined ? {} : { presence: known.presence }),
    ...(known?.lastHeardMs === undefined ? {} : { lastHeardMs: known.lastHeardMs }),
  };
}

export function policyView({ images, ...policy }: LenderPolicy): PeerPolicyView {
  return { ...policy, images: [...images] };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

function countByPeer(records: readonly { readonly peer: string }[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { peer } of records) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  return counts;
}
