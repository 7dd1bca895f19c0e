/** What admins do with peerings. */
import { assertNever } from "@muster/base";
import { type Peering, proveInvitation } from "@muster/broker";
import { cloudAddress, type Invitation, partnerAccount, type Refusal, refusal } from "@muster/protocol";
import type { Round } from "../core/round.ts";
import { forgivePeer, halt } from "./peer-conduct.ts";
import type { PeerRecord, PinnedKey } from "./peer-record.ts";
import { SITE_KEY } from "./peer-record.ts";
import { enter, nextWord, putPeer } from "./peering-change.ts";
import type { PeeringEvent } from "./peering-event.ts";
import { attendPeers } from "./peering-outbox.ts";
import type { Reach } from "./reach.ts";
import { acceptorPolicy, changedPolicy, LEND_DEFAULT, policyOfTerms, termsOf } from "./terms.ts";

/** Most peerings and invitations by record (S2). */
export const PEERS_MAX = 500;
/** How far the clocks of two sites may lie apart before a token is taken for expired here; its maker judges at last. */
const CLOCKS_APART_MS = 300_000;

export type PeeringVerb = Extract<PeeringEvent, { readonly actor: unknown }>;

export function takePeeringVerb(round: Round, event: PeeringVerb): void {
  const refused =
    event.actor.role === "admin"
      ? carryOut(round, event)
      : refusal("forbidden", "admin-only", `${event.actor.user} may not change peerings: ask an admin`);
  round.turn.answer(
    event.ticket,
    refused === undefined ? { kind: "peer", peer: peerOf(event) } : { kind: "refused", refusal: refused },
  );
  attendPeers(round);
}

function peerOf(event: PeeringVerb): string {
  if (event.kind === "key-rotate") return "";
  return event.kind === "peer-accept" ? event.invitation.site : event.domain;
}

function carryOut(round: Round, event: PeeringVerb): Refusal | undefined {
  switch (event.kind) {
    case "peer-invite":
      return invite(round, event);
    case "peer-accept":
      return accept(round, event);
    case "peer-change":
      return change(round, event);
    case "peer-policy":
      return setPolicy(round, event);
    case "key-rotate":
      return rotate(round, event);
    default:
      return assertNever(event);
  }
}

function invite(round: Round, event: Extract<PeeringVerb, { kind: "peer-invite" }>): Refusal | undefined {
  const { set, turn, policy } = round;
  const { domain, invitation, proofKey, borrow, expiresMs } = event;
  if (domain === policy.domain)
    return refusal("bad-request", "own-domain", "a site does not peer with itself", { field: "domain" });
  const known = set.peers.records.get(domain);
  // The same again, after a lost answer, is the same invitation (B1).
  if (known?.state === "invited" && known.origin.role === "inviter" && known.origin.id === invitation)
    return known.origin.proofKey === proofKey ? undefined : idTaken(invitation);
  const refused = noRoom(round, domain) ?? notOver(known, "invite");
  if (refused !== undefined) return refused;
  const ours = set.peers.ownKey;
  if (ours === undefined) return NO_SITE_KEY;
  set.peers.talks.delete(domain);
  putPeer(round, {
    domain,
    state: "invited",
    sinceMs: turn.nowMs,
    lend: changedPolicy(LEND_DEFAULT, event.lend),
    borrow,
    ours,
    ...(event.asAccount === true ? { reach: { kind: "account", jid: partnerAccount(domain, policy.domain) } } : {}),
    origin: { role: "inviter", id: invitation, proofKey, expiresAtMs: turn.nowMs + expiresMs },
  });
  turn.event("peer", domain, "is invited to a peering");
  return undefined;
}

function idTaken(invitation: string): Refusal {
  return refusal("conflict", "id-taken", `${invitation} is the id of another invitation`, { field: "once.invitation" });
}

function accept(round: Round, event: Extract<PeeringVerb, { kind: "peer-accept" }>): Refusal | undefined {
  const { set, turn } = round;
  const { invitation, borrow } = event;
  const { site } = invitation;
  const ours = set.peers.ownKey;
  const known = set.peers.records.get(site);
  // The same token again is the same acceptance (B1).
  if (known?.origin.role === "acceptor" && known.origin.id === invitation.invitation && known.state !== "left")
    return undefined;
  const refused = unfit(round, invitation) ?? noRoom(round, site) ?? notOver(known, "accept");
  if (refused !== undefined) return refused;
  if (ours === undefined) return NO_SITE_KEY;
  if (event.dryRun) return undefined;
  const lend = acceptorPolicy(invitation, event.lend);
  set.peers.talks.delete(site);
  putPeer(round, {
    domain: site,
    state: "invited",
    sinceMs: turn.nowMs,
    lend,
    agreed: policyOfTerms(invitation.lend),
    borrow,
    ...(invitation.reach === undefined ? {} : { reach: clientReach(invitation.reach) }),
    key: { publicKey: invitation.key, sequence: invitation.keySequence },
    ours,
    origin: {
      role: "acceptor",
      id: invitation.invitation,
      expiresAtMs: invitation.expiresAt * 1_000,
      accept: {
        invitation: invitation.invitation,
        key: ours.publicKey,
        keySequence: ours.sequence,
        proof: proofOf(round, invitation, ours),
        lend: termsOf(lend),
        borrow,
      },
    },
  });
  turn.event("peer", site, "its invitation is being accepted");
  return undefined;
}

function clientReach({ jid, service, token, ca }: NonNullable<Invitation["reach"]>): Reach {
  return { kind: "client", jid, service, token, ...(ca === undefined ? {} : { caPem: ca }) };
}

function proofOf({ policy }: Round, invitation: Invitation, ours: PinnedKey): string {
  return proveInvitation(invitation.secret, {
    invitation: invitation.invitation,
    inviter: invitation.site,
    inviterKey: invitation.key,
    acceptor: policy.domain,
    acceptorKey: ours.publicKey,
    acceptorKeySequence: ours.sequence,
  });
}

/** Why the token is not for us, or not any more. */
function unfit({ turn, policy }: Round, invitation: Invitation): Refusal | undefined {
  const field = { field: "token" };
  if (invitation.site === policy.domain)
    return refusal("bad-request", "own-invitation", "this site made the token; the other one accepts it", field);
  if (invitation.for !== policy.domain) {
    const message = `the token is for ${invitation.for}, and this is ${policy.domain}; ask ${invitation.site} for one`;
    return refusal("forbidden", "invitation-for-another", message, field);
  }
  if (turn.nowMs > invitation.expiresAt * 1_000 + CLOCKS_APART_MS)
    return refusal("forbidden", "invitation-expired", `the token has expired; ask ${invitation.site} for one`, field);
  return undefined;
}

function noRoom({ set }: Round, domain: string): Refusal | undefined {
  if (set.peers.configured.has(domain)) return configuredPeer(domain);
  if (!set.peers.records.has(domain) && set.peers.records.size >= PEERS_MAX)
    return refusal("resource-constraint", "too-many-peers", `a site has at most ${PEERS_MAX} peerings by invitation`);
  return undefined;
}

/** A new invitation takes the place of one that waits; a peering in force has to be left first. */
function notOver(known: PeerRecord | undefined, what: "invite" | "accept"): Refusal | undefined {
  if (known === undefined || known.state === "left") return undefined;
  if (known.state === "invited" && (what === "invite") === (known.origin.role === "inviter")) return undefined;
  const { domain, state } = known;
  if (state === "invited")
    return refusal(
      "conflict",
      "invitation-open",
      `an invitation between ${domain} and this site is open: leave it first`,
    );
  return refusal(
    "conflict",
    "peered-already",
    `there is a peering with ${domain} already: see muster peer show ${domain}`,
  );
}

const VERB_STATES = { suspend: "suspended", resume: "active", drain: "draining", leave: "left" } as const;

function change(round: Round, event: Extract<PeeringVerb, { kind: "peer-change" }>): Refusal | undefined {
  const { domain, verb, reason } = event;
  const configured = round.set.peers.configured.get(domain);
  if (configured !== undefined) return changeConfigured(round, configured, event);
  const found = stored(round, domain);
  if ("kind" in found) return found;
  const state = VERB_STATES[verb];
  if (found.state === state && (reason === undefined || reason === found.reason)) return undefined;
  if (found.state === "left") return isOver(domain);
  if (found.state === "invited" && state !== "left")
    return refusal("conflict", "not-active", `the peering with ${domain} is not agreed yet: it can only be left`);
  enter(round, found, state, reason);
  if (verb === "resume") forgivePeer(round, domain);
  return undefined;
}

/** What stands in the configuration is halted and resumed at run time; its partner finds out by our refusals. */
function changeConfigured(
  round: Round,
  { domain, state: configured }: Peering,
  { verb, reason }: Extract<PeeringVerb, { kind: "peer-change" }>,
): Refusal | undefined {
  const { set, turn } = round;
  if (verb === "leave") {
    const message = `the peering with ${domain} stands in the managers' configuration: take it out there to leave it; to stop it now: muster peer suspend ${domain}`;
    return refusal("conflict", "configured-peer", message, { field: "domain" });
  }
  if (configured !== "active") {
    const message = `the managers' configuration holds the peering with ${domain} as ${configured}: change it there`;
    return refusal("conflict", "configured-peer", message, { field: "domain" });
  }
  const before = set.peers.conducts.get(domain)?.halt;
  const state = VERB_STATES[verb];
  if (state === "active") {
    if (before !== undefined) halt(round, domain, undefined);
    else forgivePeer(round, domain);
    return undefined;
  }
  if (before?.state === state && (reason === undefined || reason === before.reason)) return undefined;
  halt(round, domain, { state, sinceMs: turn.nowMs, ...(reason === undefined ? {} : { reason }) });
  return undefined;
}

function setPolicy(round: Round, event: Extract<PeeringVerb, { kind: "peer-policy" }>): Refusal | undefined {
  const found = stored(round, event.domain);
  if ("kind" in found) return found;
  if (found.state === "left") return isOver(event.domain);
  if (found.state === "invited" && found.origin.role === "acceptor")
    return refusal("conflict", "not-active", `the peering with ${event.domain} is not agreed yet: wait until it is`);
  const lend = changedPolicy(found.lend, event.lend);
  const borrow = event.borrow ?? found.borrow;
  // Who is invited hears the terms with the answer to its acceptance.
  const said = found.state === "invited" ? {} : { said: nextWord(round, found) };
  putPeer(round, { ...found, lend, borrow, ...said });
  round.turn.event("peer", event.domain, "what it may borrow was changed");
  return undefined;
}

/** The key after the present one in the file takes over; each peer is told, by the key that it knows. */
function rotate({ set, turn }: Round, { keys, overlapMs, sequence }: Extract<PeeringVerb, { kind: "key-rotate" }>) {
  const { ownKey } = set.peers;
  if (ownKey === undefined) return NO_SITE_KEY;
  // The same again is the same (B1): a retry must not go on to the key after the next.
  if (sequence === ownKey.sequence) return undefined;
  if (sequence !== undefined && sequence !== ownKey.sequence + 1) {
    const message = `key ${ownKey.sequence} signs now: the next one is ${ownKey.sequence + 1}`;
    return refusal("conflict", "other-sequence", message, { field: "sequence" });
  }
  const next = keys[keys.indexOf(ownKey.publicKey) + 1];
  if (!keys.includes(ownKey.publicKey))
    return refusal(
      "conflict",
      "key-missing",
      "the key that signs now is not in the site's key file: put it back first",
    );
  if (next === undefined)
    return refusal(
      "conflict",
      "no-next-key",
      "the site's key file has no key after the present one: add one on every manager, all the same " +
        "(openssl genpkey -algorithm ed25519 >> site-key.pem), and ask again",
    );
  const record = { publicKey: next, sequence: ownKey.sequence + 1, overlapMs, sinceMs: turn.nowMs };
  set.peers.siteKey = record;
  set.peers.talks.clear();
  turn.put(SITE_KEY, record);
  turn.event("site", "site-key", `key ${record.sequence} signs from now on; peers are being told`);
  return undefined;
}

function stored({ set }: Round, domain: string): PeerRecord | Refusal {
  if (set.peers.configured.has(domain)) return configuredPeer(domain);
  const record = set.peers.records.get(domain);
  if (record !== undefined) return record;
  return refusal("item-not-found", "unknown-peer", `there is no peering with ${domain}: see muster peer list`);
}

function configuredPeer(domain: string): Refusal {
  const message = `the peering with ${domain} stands in the managers' configuration: change it there, or take it out first`;
  return refusal("conflict", "configured-peer", message, { field: "domain" });
}

function isOver(domain: string): Refusal {
  return refusal("conflict", "peering-left", `the peering with ${domain} is over: invite ${cloudAddress(domain)} anew`);
}

export const NO_SITE_KEY = refusal(
  "conflict",
  "no-site-key",
  "this site has no key that lasts: set siteKeyFile on every manager (openssl genpkey -algorithm ed25519)",
);
