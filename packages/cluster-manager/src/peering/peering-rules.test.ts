import { generateSiteKey, keyFingerprint, type PeeringOutcome } from "@muster/broker";
import { type PeerState, refusal, type Succession } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ADMIN, ANN, peering } from "../core/scripted-site.fixture.ts";
import { LINGER_MS, TELL_FOR_MS } from "./peering-change.ts";
import { BETA, INVITATION, PeeringSite, SECRET, TERMS } from "./peering-site.fixture.ts";
import { PEERS_MAX } from "./peering-verbs.ts";

const OTHER = "01900000-0000-7000-8000-00000000000f";
const UNKNOWN: PeeringOutcome = { kind: "unknown", why: "lost on the way" };

const refused = (reason: string) => ({ kind: "refused", refusal: { reason } });

describe("an acceptance", () => {
  it("B1: gets the same answer again after a lost one, also after the invitation's time and a restart", () => {
    const site = new PeeringSite();
    site.invite();
    const accept = { kind: "accept", body: site.acceptance() } as const;
    const first = site.hear(accept);
    expect(first).toMatchObject({ kind: "peering", answer: { kind: "accepted", body: { invitation: INVITATION } } });
    site.pass(7_200_000);
    site.restart();
    expect(site.hear(accept)).toEqual(first);
    expect(site.state()).toBe("active");
  });

  it("B1: of other content under a used invitation is a conflict", () => {
    const site = PeeringSite.peered();
    const other = site.acceptance({ borrow: false });
    expect(site.hear({ kind: "accept", body: other })).toMatchObject(refused("invitation-used"));
    expect(site.core.views.pinnedPeer(BETA, site.nowMs)?.publicKey).toBe(site.betaKey.publicKey);
  });

  it.each([
    ["with another secret", { secret: Buffer.alloc(32, 1).toString("base64url") }, "bad-proof"],
    ["with a proof made for another site", { acceptor: "gamma.test" }, "bad-proof"],
    ["with a proof that names another key of ours", { inviterKey: "A".repeat(43) }, "bad-proof"],
    ["with a key that the proof does not name", { key: generateSiteKey().publicKey }, "bad-proof"],
    ["with a key number that the proof does not name", { keySequence: 2 }, "bad-proof"],
    ["of another invitation", { invitation: OTHER }, "unknown-invitation"],
  ])("B5: %s is refused, and the invitation stays open", (_what, change, reason) => {
    const site = new PeeringSite();
    site.invite();
    expect(site.hear({ kind: "accept", body: site.acceptance(change) })).toMatchObject(refused(reason));
    expect(site.state()).toBe("invited");
    site.hear({ kind: "accept", body: site.acceptance() });
    expect(site.state()).toBe("active");
  });

  it("B5: of a site that was not invited is refused, also with the right secret", () => {
    const site = new PeeringSite();
    site.invite();
    const body = site.acceptance({ acceptor: "gamma.test" });
    expect(site.hear({ kind: "accept", body }, "gamma.test")).toMatchObject(refused("no-peering"));
    expect(site.state("gamma.test")).toBeUndefined();
  });

  it("B5: after the invitation was withdrawn or has run out is refused", () => {
    const site = new PeeringSite();
    site.invite();
    site.change("leave");
    expect(site.hear({ kind: "accept", body: site.acceptance() })).toMatchObject(refused("invitation-withdrawn"));
    site.invite({ expiresMs: 1_000 });
    site.pass(1_001);
    expect(site.hear({ kind: "accept", body: site.acceptance() })).toMatchObject(refused("no-peering"));
    expect(site.state()).toBeUndefined();
  });

  it("S3: nothing stored accepts an invitation", () => {
    const site = new PeeringSite();
    site.invite();
    const stored = JSON.stringify([...site.store.values()]);
    expect(stored).not.toContain(SECRET);
  });
});

describe("accepting", () => {
  it("B1: says the same until it is answered, one question at a time, over restarts", () => {
    const site = accepting();
    const [first] = site.sent;
    expect(first).toMatchObject({ peer: BETA, signWith: site.key.publicKey, request: { kind: "accept" } });
    site.pass(60_000);
    expect(site.sent).toHaveLength(1);
    site.reply(UNKNOWN);
    expect(site.sent).toHaveLength(0);
    site.pass(1_000);
    expect(site.sent[0]?.request).toEqual(first?.request);
    site.restart();
    expect(site.sent[0]?.request).toEqual(first?.request);
    site.reply({
      kind: "answered",
      answer: { kind: "accepted", body: { invitation: INVITATION, lend: TERMS, borrow: true } },
    });
    expect(site.state()).toBe("active");
    site.pass(600_000);
    expect(site.sent).toHaveLength(0);
  });

  it("goes on after a refusal that passes, and ends with one that does not", () => {
    const site = accepting();
    site.reply({ kind: "refused", refusal: refusal("unavailable", "manager-busy", "later") });
    expect(site.state()).toBe("invited");
    site.pass(2_000);
    site.reply({ kind: "refused", refusal: refusal("conflict", "invitation-used", "it was used") });
    expect(site.core.views.peers(site.nowMs)).toMatchObject([
      { state: "left", reason: expect.stringMatching(/it was used/) },
    ]);
  });

  it("takes the answer of another invitation for none", () => {
    const site = accepting();
    site.reply({
      kind: "answered",
      answer: { kind: "accepted", body: { invitation: OTHER, lend: TERMS, borrow: true } },
    });
    expect(site.state()).toBe("invited");
  });
});

describe("what a peer says of its side", () => {
  const said = (more: Partial<PeerState> = {}) =>
    ({ kind: "state", body: { peering: INVITATION, sequence: 5, state: "suspended", lend: TERMS, ...more } }) as const;

  it("B5: counts only forward: a replay of an older state changes nothing", () => {
    const site = PeeringSite.peered();
    site.hear(said());
    site.hear(said({ sequence: 6, state: "active" }));
    expect(site.hear(said())).toMatchObject({ kind: "peering", answer: { body: { sequence: 5 } } });
    expect(site.core.views.peering(BETA, site.nowMs)?.partnerState).toBe("active");
  });

  it("B5: counts only for the peering that it was said of", () => {
    const site = PeeringSite.peered();
    expect(site.hear(said({ peering: OTHER, state: "left" }))).toMatchObject(refused("other-peering"));
    expect(site.state()).toBe("active");
  });

  it("closes our side, too, when it left, and there is nothing to tell it", () => {
    const site = PeeringSite.peered();
    site.hear(said({ state: "left", reason: "no more money" }));
    expect(site.core.views.peers(site.nowMs)).toMatchObject([
      { state: "left", reason: "beta.test has left: no more money", told: true },
    ]);
    expect(site.core.views.peering(BETA, site.nowMs)).toBeUndefined();
    expect(site.sent).toEqual([]);
  });

  it("lets it ask again for a while whether we heard, and closes the door then", () => {
    const site = PeeringSite.peered();
    const left = said({ state: "left" });
    const first = site.hear(left);
    expect(site.core.views.peerDoor()).toEqual(["cloud.beta.test"]);
    site.restart();
    expect(site.hear(left)).toEqual(first);
    const changes = site.doorChanges;
    site.pass(LINGER_MS);
    expect(site.core.views.peerDoor()).toEqual([]);
    expect(site.doorChanges).toBe(changes + 1);
  });
});

describe("the end of a peering", () => {
  it("keeps the door open until the partner knows, and closes it then", () => {
    const site = PeeringSite.peered();
    site.change("leave", "moving");
    expect(site.state()).toBe("left");
    expect(site.core.views.peering(BETA, site.nowMs)).toBeUndefined();
    expect(site.core.views.peerDoor()).toEqual(["cloud.beta.test"]);
    const { request } = site.reply(UNKNOWN);
    site.pass(1_000);
    if (request.kind !== "state") throw new Error(`it said ${request.kind}`);
    expect(request.body).toMatchObject({ state: "left", reason: "moving" });
    const { sequence } = request.body;
    site.reply({ kind: "answered", answer: { kind: "state-taken", body: { peering: INVITATION, sequence } } });
    expect(site.core.views.peerDoor()).toEqual([]);
  });

  it("S2: is not said for ever to a partner that is dead", () => {
    const site = PeeringSite.peered();
    site.change("leave");
    site.reply(UNKNOWN);
    site.nowMs += TELL_FOR_MS;
    site.step({ kind: "tick" });
    expect(site.core.views.peerDoor()).toEqual([]);
  });

  it("leaves no way to bring it back but a new invitation", () => {
    const site = PeeringSite.peered();
    site.change("leave");
    expect(site.change("resume")).toMatchObject(refused("peering-left"));
    expect(site.invite({ invitation: OTHER })).toMatchObject({ kind: "peer" });
    expect(site.state()).toBe("invited");
  });
});

describe("succession of the peer's key", () => {
  const next = generateSiteKey();
  const to = (more: Partial<Succession> = {}) =>
    ({
      kind: "succession",
      body: { peering: INVITATION, key: next.publicKey, keySequence: 2, overlapMs: 10_000, ...more },
    }) as const;

  it("pins the next key, and takes what the one before signed for the stated time only", () => {
    const site = PeeringSite.peered();
    expect(site.hear(to())).toMatchObject({ answer: { kind: "succession-taken", body: { keySequence: 2 } } });
    expect(site.core.views.pinnedPeer(BETA, site.nowMs)).toMatchObject({
      publicKey: next.publicKey,
      earlierKey: site.betaKey.publicKey,
    });
    site.nowMs += 10_000;
    expect(site.core.views.pinnedPeer(BETA, site.nowMs)?.earlierKey).toBeUndefined();
  });

  it("B1: the same again is the same, and does not lengthen the overlap", () => {
    const site = PeeringSite.peered();
    const first = site.hear(to());
    site.nowMs += 9_000;
    expect(site.hear(to())).toEqual(first);
    site.nowMs += 1_000;
    expect(site.core.views.pinnedPeer(BETA, site.nowMs)?.earlierKey).toBeUndefined();
  });

  it.each([
    ["a replay of an earlier one", { keySequence: 2 }],
    ["the number of the pinned one with another key", { keySequence: 3, key: "B".repeat(43) }],
    ["the key before, again", { keySequence: 1, key: "C".repeat(43) }],
  ])("B5: refuses %s", (_what, change) => {
    const site = PeeringSite.peered();
    site.hear(to());
    const third = generateSiteKey().publicKey;
    site.hear(to({ keySequence: 3, key: third }));
    expect(site.hear(to(change))).toMatchObject(refused("stale-succession"));
    expect(site.core.views.pinnedPeer(BETA, site.nowMs)?.publicKey).toBe(third);
  });

  it("B5: refuses one of another peering", () => {
    const site = PeeringSite.peered();
    expect(site.hear(to({ peering: OTHER }))).toMatchObject(refused("other-peering"));
  });
});

describe("succession of our key", () => {
  const rotate = (site: PeeringSite, keys = [site.key.publicKey, site.next.publicKey]) =>
    site.ask({ kind: "key-rotate", actor: ADMIN, keys, overlapMs: 5_000 });

  it("is told under the key that the peer knows, which signs for it until the peer has pinned the next", () => {
    const site = PeeringSite.peered();
    rotate(site);
    expect(site.sent).toMatchObject([{ signWith: site.key.publicKey, request: { kind: "succession" } }]);
    expect(site.core.views.pinnedPeer(BETA, site.nowMs)?.signWith).toBe(site.key.publicKey);
    site.reply({
      kind: "answered",
      answer: { kind: "succession-taken", body: { peering: INVITATION, keySequence: 2 } },
    });
    expect(site.core.views.pinnedPeer(BETA, site.nowMs)?.signWith).toBe(site.next.publicKey);
    expect(site.core.views.siteKey()).toMatchObject({ sequence: 2, waitingFor: [] });
  });

  it("is told under the next key where the peer takes the one before no more: only the answer was lost", () => {
    const site = PeeringSite.peered();
    rotate(site);
    site.reply({ kind: "refused", refusal: refusal("not-authorized", "bad-signature", "not the pinned key") });
    site.pass(1_000);
    expect(site.sent).toMatchObject([{ signWith: site.next.publicKey, request: { kind: "succession" } }]);
  });

  it("is told under the key between, where the peer pinned that one without our hearing of it before it was rotated too", () => {
    const site = PeeringSite.peered();
    const keys = [site.key.publicKey, site.next.publicKey, site.afterNext.publicKey];
    rotate(site, keys);
    site.reply({ kind: "unknown", why: "the answer is lost" });
    rotate(site, keys);
    const signed: (string | undefined)[] = [];
    for (let tries = 0; tries < 3; tries += 1) {
      signed.push(site.sent.at(-1)?.signWith);
      site.reply({ kind: "refused", refusal: refusal("not-authorized", "bad-signature", "not the pinned key") });
      site.pass(5_000);
    }
    expect(new Set(signed)).toEqual(new Set(keys));
  });

  it("lets us answer the peer's succession by each of the keys that it may have pinned, where both changed keys at once", () => {
    const site = PeeringSite.peered();
    rotate(site);
    const next = generateSiteKey().publicKey;
    const said = { peering: INVITATION, key: next, keySequence: 2, overlapMs: 1_000 };
    const signed: (string | undefined)[] = [];
    for (let times = 0; times < 2; times += 1) {
      expect(site.hear({ kind: "succession", body: said })).toMatchObject({ answer: { kind: "succession-taken" } });
      signed.push(site.core.views.pinnedPeer(BETA, site.nowMs)?.signWith);
    }
    expect(signed).toEqual([site.key.publicKey, site.next.publicKey]);
  });

  it("outlives a restart, and new invitations carry the new key", () => {
    const site = PeeringSite.peered();
    rotate(site);
    site.restart();
    expect(site.sent).toMatchObject([{ request: { kind: "succession" } }]);
    expect(site.core.views.siteKey()?.fingerprint).toBe(keyFingerprint(site.next.publicKey));
  });

  it("B1: rotates once however often it is asked for the same number", () => {
    const site = PeeringSite.peered();
    const keys = [site.key.publicKey, site.next.publicKey, generateSiteKey().publicKey];
    const asked = { kind: "key-rotate", actor: ADMIN, keys, overlapMs: 5_000, sequence: 2 } as const;
    expect(site.ask(asked)).toMatchObject({ kind: "peer" });
    expect(site.ask(asked)).toMatchObject({ kind: "peer" });
    expect(site.core.views.siteKey()).toMatchObject({ sequence: 2 });
    expect(site.ask({ ...asked, sequence: 4 })).toMatchObject(refused("other-sequence"));
  });

  it("is refused without a next key in the file, or without the present one", () => {
    const site = PeeringSite.peered();
    expect(rotate(site, [site.key.publicKey])).toMatchObject(refused("no-next-key"));
    expect(rotate(site, [site.next.publicKey])).toMatchObject(refused("key-missing"));
  });
});

describe("who may change peerings, and how many there are", () => {
  it("is an admin's alone", () => {
    const site = PeeringSite.peered();
    const asked = { kind: "peer-change", actor: ANN, domain: BETA, verb: "leave" } as const;
    expect(site.ask(asked)).toMatchObject(refused("admin-only"));
    expect(site.state()).toBe("active");
  });

  it("does not touch a peering of the configuration, whatever its peer says", () => {
    const site = new PeeringSite({ peerings: [peering(BETA)] });
    expect(site.invite()).toMatchObject(refused("configured-peer"));
    expect(site.change("leave")).toMatchObject(refused("configured-peer"));
    const body = { peering: INVITATION, sequence: 1, state: "left", lend: TERMS } as const;
    expect(site.hear({ kind: "state", body })).toMatchObject(refused("no-peering"));
    expect(site.core.views.peering(BETA, site.nowMs)?.state).toBe("active");
  });

  it("S2: is bounded", () => {
    const site = new PeeringSite();
    for (let peer = 0; peer < PEERS_MAX; peer += 1) site.invite({ domain: `site${peer}.test` });
    expect(site.invite({ domain: "onemore.test" })).toMatchObject(refused("too-many-peers"));
    expect(site.invite({ domain: "site1.test" })).toMatchObject({ kind: "peer" });
  });
});

/** A site that accepts an invitation of beta. */
function accepting(): PeeringSite {
  const site = new PeeringSite();
  const answer = site.ask({
    kind: "peer-accept",
    actor: ADMIN,
    invitation: {
      v: 1,
      invitation: INVITATION,
      site: BETA,
      cloud: `cloud.${BETA}`,
      key: site.betaKey.publicKey,
      keySequence: 1,
      for: "alpha.test",
      secret: SECRET,
      expiresAt: Math.ceil(site.nowMs / 1_000) + 3_600,
      lend: TERMS,
      borrow: true,
    },
    lend: {},
    borrow: true,
    dryRun: false,
  });
  expect(answer).toMatchObject({ kind: "peer", peer: BETA });
  return site;
}
