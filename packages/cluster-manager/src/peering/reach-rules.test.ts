import { describe, expect, it } from "vitest";
import { LINGER_MS } from "./peering-change.ts";
import { BETA, INVITATION, PeeringSite } from "./peering-site.fixture.ts";

const ACCOUNT = "cloud-beta.test@alpha.test";
const SERVICE = "xmpps://gamma.test:5223";

/** A site that gave beta an account with its invitation, which beta took up. */
function withAccount(): PeeringSite {
  const site = new PeeringSite();
  site.invite({ asAccount: true });
  site.hear({ kind: "accept", body: site.acceptance() });
  return site;
}

const shown = (site: PeeringSite) => site.core.views.peers(site.nowMs)[0];

describe("a peer that comes as an account of our server", () => {
  it("needs no door for another server, from its invitation on, and is shown as what it is", () => {
    const site = new PeeringSite();
    site.invite({ asAccount: true });
    expect(site.core.views.peerDoor()).toEqual([]);
    expect(site.core.views.reaches().ownerOf(ACCOUNT)).toBe(BETA);
    site.hear({ kind: "accept", body: site.acceptance() });
    expect(shown(site)).toMatchObject({ state: "active", reach: { kind: "account", jid: ACCOUNT } });
    site.restart();
    expect(site.core.views.reaches().reachOf(BETA)).toEqual({ kind: "account", jid: ACCOUNT });
  });

  it("B5: has its account for as long as it may speak, and not beyond", () => {
    const site = withAccount();
    expect(site.core.views.reaches().accounts("alpha.test")).toEqual({ open: [ACCOUNT], over: [] });
    site.change("leave");
    // The last words about the end go to that account.
    expect(site.core.views.reaches().accounts("alpha.test")).toEqual({ open: [ACCOUNT], over: [] });
    const changes = site.doorChanges;
    const word = site.sent.at(-1)?.request;
    if (word?.kind !== "state") throw new Error("beta is told of the end");
    const body = { peering: INVITATION, sequence: word.body.sequence };
    site.reply({ kind: "answered", answer: { kind: "state-taken", body } });
    expect(site.core.views.reaches().accounts("alpha.test")).toEqual({ open: [], over: [ACCOUNT] });
    expect(site.core.views.reaches().ownerOf(ACCOUNT)).toBeUndefined();
    expect(site.doorChanges).toBeGreaterThan(changes);
  });

  it("is let out some time after it left by itself", () => {
    const site = withAccount();
    const body = { peering: INVITATION, sequence: 1, state: "left", lend: site.acceptance().lend } as const;
    site.hear({ kind: "state", body });
    expect(site.core.views.reaches().accounts("alpha.test").open).toEqual([ACCOUNT]);
    site.pass(LINGER_MS + 1);
    expect(site.core.views.reaches().accounts("alpha.test")).toEqual({ open: [], over: [ACCOUNT] });
  });

  it("comes from server to server again after an invitation that says so", () => {
    const site = new PeeringSite();
    site.invite({ asAccount: true });
    site.invite({ invitation: "01900000-0000-7000-8000-00000000000b" });
    expect(site.core.views.peerDoor()).toEqual(["cloud.beta.test"]);
    expect(site.core.views.reaches().accounts("alpha.test")).toEqual({ open: [], over: [] });
  });
});

describe("a peer at whose server we log in", () => {
  const reach = { kind: "client", jid: "cloud-alpha.test@gamma.test", service: SERVICE } as const;

  it("by configuration: needs no door, and we are to be logged in there", () => {
    const lend = { accept: true, share: 1, leaseMsMax: 1_000, vmsMax: 1, images: [] };
    const peering = {
      domain: "gamma.test",
      publicKey: "A".repeat(43),
      lend,
      borrow: true,
      state: "active",
      reach,
    } as const;
    const site = new PeeringSite({ peerings: [peering] });
    expect(site.core.views.peerDoor()).toEqual([]);
    expect(site.core.views.reaches().logins()).toEqual([{ domain: "gamma.test", reach }]);
    expect(shown(site)).toMatchObject({ reach });
  });

  it("S3: shows neither the token nor the certificates of the login", () => {
    const lend = { accept: true, share: 1, leaseMsMax: 1_000, vmsMax: 1, images: [] };
    const secret = { ...reach, token: "only once", caPem: "PEM" };
    const peering = { domain: "gamma.test", publicKey: "A".repeat(43), lend, borrow: true, state: "active" } as const;
    const site = new PeeringSite({ peerings: [{ ...peering, reach: secret }] });
    expect(JSON.stringify(shown(site))).not.toMatch(/only once|PEM/);
  });
});
