import { randomBytes } from "node:crypto";
import { err, ok, type Result } from "@muster/base";
import { keyFingerprint, proofKeyOf } from "@muster/broker";
import {
  acceptanceViewSchema,
  decodeInvitation,
  encodeInvitation,
  type Invitation,
  invitationViewSchema,
  keyRotateSchema,
  PEER_VERBS,
  type PeerVerb,
  type PeerView,
  pageOf,
  peerAcceptSchema,
  peerInviteSchema,
  peerPolicyChangeSchema,
  peerReasonSchema,
  peerViewSchema,
  type ReachOffer,
  type Refusal,
  refusal,
  siteKeyViewSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { CoreViews } from "../core/core.ts";
import type { Answer } from "../core/effect.ts";
import type { PinnedKey } from "../peering/peer-record.ts";
import { policyView } from "../peering/peer-view.ts";
import { NO_SITE_KEY } from "../peering/peering-verbs.ts";
import { acceptorPolicy, policyOfTerms, termsOf } from "../peering/terms.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { adminRefusal, unknown } from "./permission.ts";
import { page, pageQuery, type Reply, type Route, refuse, route, value } from "./route.ts";

const peerParams = z.strictObject({ domain: z.string().max(253) });

/** Peers, and what admins do with peerings. */
export function peerRoutes(backend: Backend): Route[] {
  return [
    listRoute(backend),
    showRoute(backend),
    inviteRoute(backend),
    acceptRoute(backend),
    ...PEER_VERBS.map((verb) => verbRoute(backend, verb)),
    policyRoute(backend),
    keyRoute(backend),
    rotateRoute(backend),
  ];
}

function listRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/peers",
    id: "listPeers",
    summary: "Peers by domain, invited ones and those that were left included.",
    query: pageQuery,
    answer: pageOf(peerViewSchema),
    handle: ({ query }) => loop.read((views, nowMs) => value(page(views.peers(nowMs), (peer) => peer.domain, query))),
  });
}

function showRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/peers/{domain}",
    id: "showPeer",
    summary: "One peer.",
    params: peerParams,
    answer: peerViewSchema,
    handle: ({ params }) =>
      loop.read((views, nowMs) => {
        const peer = peerIn(views, params.domain, nowMs);
        return peer === undefined ? refuse(unknown("peer", params.domain)) : value(peer);
      }),
  });
}

function inviteRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/peer-invitations",
    id: "invitePeer",
    summary: "Invites a site to a peering: the answer holds a token that works once. Admins only.",
    body: peerInviteSchema,
    status: 201,
    answer: invitationViewSchema,
    handle: async ({ actor, body }) => {
      const { domain, lend, borrow, expiresMs, once } = body;
      const asAccount = body.reach === "client";
      const invitation = once?.invitation ?? backend.newId();
      // Shown once, with the token; the store has the public half.
      const secret = once?.secret ?? randomBytes(32).toString("base64url");
      const proofKey = proofKeyOf(secret);
      const wish = { actor, domain, lend, borrow, expiresMs, invitation, proofKey, asAccount };
      const made = await backend.loop.ask(
        (ticket) => ({ kind: "peer-invite", ticket, ...wish }),
        ANSWER_WITHIN_MS,
        (answer, views, nowMs): Result<Invited, Refusal> => {
          if (answer.kind === "refused") return err(answer.refusal);
          const key = views.ownKey();
          const peer = peerIn(views, domain, nowMs);
          if (key === undefined || peer?.invitation?.id !== invitation) return err(OVERTAKEN);
          return ok({ key, peer, expiresAt: peer.invitation.expiresAt });
        },
      );
      if (!made.ok) return refuse(made.error);
      // The account is made once the invitation stands: the one of an earlier peering is taken away for it.
      const reach = asAccount ? await backend.partnerReach(domain, Math.ceil(expiresMs / 1_000)) : ok(undefined);
      return reach.ok
        ? invitationReply(backend.site, { ...wish, secret }, made.value, reach.value)
        : refuse(reach.error);
    },
  });
}
type Invited = { readonly key: PinnedKey; readonly peer: PeerView; readonly expiresAt: string };

function invitationReply(
  site: string,
  wish: { readonly domain: string; readonly invitation: string; readonly secret: string; readonly borrow: boolean },
  { key, peer, expiresAt }: Invited,
  reach: ReachOffer | undefined,
): Reply {
  const { domain, invitation, secret, borrow } = wish;
  const token = encodeInvitation({
    v: 1,
    invitation,
    site,
    cloud: `cloud.${site}`,
    key: key.publicKey,
    keySequence: key.sequence,
    for: domain,
    secret,
    expiresAt: Math.floor(Date.parse(expiresAt) / 1_000),
    lend: termsOf(peer.policy),
    borrow,
    ...(reach === undefined ? {} : { reach }),
  });
  const fingerprint = keyFingerprint(key.publicKey);
  const account = reach === undefined ? {} : { account: reach.jid };
  const shown = { domain, invitation, token, fingerprint, expiresAt, lend: peer.policy, borrow, ...account };
  return value(shown, { status: 201 });
}

function acceptRoute({ loop }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/peer-acceptances",
    id: "acceptPeer",
    summary:
      "Accepts an invitation: what is agreed to; the peer is `active` once the inviting site answered. With `dryRun` nothing is done. Admins only.",
    query: z.strictObject({ dryRun: z.enum(["true", "false"]).default("false") }),
    body: peerAcceptSchema,
    status: 202,
    answer: acceptanceViewSchema,
    handle: async ({ actor, body, query }) => {
      const forbidden = adminRefusal(actor);
      if (forbidden !== undefined) return refuse(forbidden);
      const decoded = decodeInvitation(body.token);
      if (!decoded.ok) {
        const [fault] = decoded.error;
        const field = fault?.field === "token" || fault === undefined ? "" : `${fault.field} `;
        return refuse(
          refusal("bad-request", "bad-token", `token: ${field}${fault?.message ?? ""}`, { field: "token" }),
        );
      }
      const invitation = decoded.value;
      const { lend, borrow } = body;
      const dryRun = query.dryRun === "true";
      return loop.ask(
        (ticket) => ({ kind: "peer-accept", ticket, actor, invitation, lend, borrow, dryRun }),
        ANSWER_WITHIN_MS,
        (answer, views): Reply =>
          answer.kind === "refused"
            ? refuse(answer.refusal)
            : value(acceptanceOf(invitation, body, views.ownKey()?.publicKey ?? ""), { status: 202 }),
      );
    },
  });
}

function acceptanceOf(
  invitation: Invitation,
  { lend, borrow }: z.output<typeof peerAcceptSchema>,
  ownKey: string,
): z.output<typeof acceptanceViewSchema> {
  return {
    domain: invitation.site,
    invitation: invitation.invitation,
    fingerprint: keyFingerprint(invitation.key),
    ourFingerprint: keyFingerprint(ownKey),
    expiresAt: new Date(invitation.expiresAt * 1_000).toISOString(),
    lend: policyView(acceptorPolicy(invitation, lend)),
    borrow,
    theirLend: policyView(policyOfTerms(invitation.lend)),
    theirBorrow: invitation.borrow,
    ...(invitation.reach === undefined
      ? {}
      : { reach: { jid: invitation.reach.jid, service: invitation.reach.service } }),
  };
}

const VERB_SUMMARIES: Readonly<Record<PeerVerb, string>> = {
  suspend: "Suspends the peering: neither side asks the other for anything; leases run out.",
  resume: "Makes a suspended or drained peering active again.",
  drain: "Drains the peering: no new leases, and those that run end with their time.",
  leave: "Leaves the peering, also where the partner is dead; leases run out by themselves.",
};

function verbRoute({ loop }: Backend, verb: PeerVerb): Route {
  return route({
    method: "POST",
    path: `/v1/peers/{domain}/${verb}`,
    id: `${verb}Peer`,
    summary: `${VERB_SUMMARIES[verb]} The partner is told. Admins only.`,
    params: peerParams,
    body: peerReasonSchema,
    answer: peerViewSchema,
    handle: ({ actor, params: { domain }, body: { reason } }) =>
      loop.ask(
        (ticket) => ({ kind: "peer-change", ticket, actor, domain, verb, reason }),
        ANSWER_WITHIN_MS,
        (answer, views, nowMs) => peerReply(answer, views, domain, nowMs),
      ),
  });
}

function policyRoute({ loop }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/peers/{domain}/policy",
    id: "setPeerPolicy",
    summary: "Sets what we lend the peer, and whether our requests may burst there. Admins only.",
    params: peerParams,
    body: peerPolicyChangeSchema,
    answer: peerViewSchema,
    handle: ({ actor, params: { domain }, body: { lend, borrow } }) =>
      loop.ask(
        (ticket) => ({ kind: "peer-policy", ticket, actor, domain, lend, borrow }),
        ANSWER_WITHIN_MS,
        (answer, views, nowMs) => peerReply(answer, views, domain, nowMs),
      ),
  });
}

function keyRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/site/key",
    id: "showSiteKey",
    summary: "The key that signs what peers hear: fingerprint, number, and who does not know it yet.",
    answer: siteKeyViewSchema,
    handle: () =>
      loop.read((views) => {
        const key = views.siteKey();
        return key === undefined ? refuse(NO_SITE_KEY) : value(key);
      }),
  });
}

function rotateRoute({ loop, reloadKeys }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/site/rotate-key",
    id: "rotateSiteKey",
    summary: "Lets the next key of the site's key file sign, and tells all peers. Admins only.",
    body: keyRotateSchema,
    answer: siteKeyViewSchema,
    handle: async ({ actor, body: { overlapMs, sequence } }) => {
      const forbidden = adminRefusal(actor);
      if (forbidden !== undefined) return refuse(forbidden);
      const keys = reloadKeys();
      if (!keys.ok) return refuse(refusal("internal", "keys-unreadable", keys.error));
      return loop.ask(
        (ticket) => ({ kind: "key-rotate", ticket, actor, keys: keys.value, overlapMs, sequence }),
        ANSWER_WITHIN_MS,
        (answer, views): Reply => (answer.kind === "refused" ? refuse(answer.refusal) : value(views.siteKey())),
      );
    },
  });
}

function peerReply(answer: Answer, views: CoreViews, domain: string, nowMs: number): Reply {
  if (answer.kind === "refused") return refuse(answer.refusal);
  const peer = peerIn(views, domain, nowMs);
  return peer === undefined ? refuse(unknown("peer", domain)) : value(peer);
}

function peerIn(views: CoreViews, domain: string, nowMs: number): PeerView | undefined {
  return views.peers(nowMs).find((peer) => peer.domain === domain);
}

const OVERTAKEN = refusal("conflict", "overtaken", "another invitation of that site came in between; ask again");
