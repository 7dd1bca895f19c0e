import { parse } from "ltx";
import { describe, expect, it } from "vitest";
import { checkInvitation, type InvitationClaim, proofKeyOf, proveInvitation } from "./invitation-proof.ts";
import { generateSiteKey } from "./keys.ts";
import { encodePeeringAnswer, encodePeeringRequest } from "./peering-codec.ts";
import type { PeeringRequest } from "./peering-message.ts";
import { type SignedRoute, signBurst, verifyBurst } from "./signature.ts";

const [OLD, NEW, OTHER] = [generateSiteKey(), generateSiteKey(), generateSiteKey()];
const ROUTE: SignedRoute = { from: "beta.test", to: "alpha.test" };
const PEERING = "01900000-0000-7000-8000-000000000001";
const LEND = { accept: true, sharePermille: 500, leaseMsMax: 60_000, vmsMax: 4, images: ["debian-12"] };
const STATE: PeeringRequest = {
  kind: "state",
  body: { peering: PEERING, sequence: 7, state: "suspended", reason: "a & b < c", lend: LEND },
};

describe("signature of what is said about a peering", () => {
  it("B5: verifies by the pinned key, and by the one before it while that is accepted", async () => {
    const pinned = { domain: "beta.test", publicKey: NEW.publicKey };
    for (const key of [OLD, NEW]) {
      const signed = parse((await signBurst(encodePeeringRequest(STATE), ROUTE, key)).toString());
      const both = await verifyBurst(parse(signed.toString()), ROUTE, { ...pinned, earlierKey: OLD.publicKey });
      expect(both.ok).toBe(true);
      expect((await verifyBurst(signed, ROUTE, pinned)).ok).toBe(key === NEW);
    }
    const stranger = await signBurst(encodePeeringRequest(STATE), ROUTE, OTHER);
    const verified = await verifyBurst(stranger, ROUTE, { ...pinned, earlierKey: OLD.publicKey });
    expect(verified).toMatchObject({ ok: false, error: { reason: "bad-signature" } });
  });

  it("B5: refuses a changed field, another sender or receiver, and another namespace", async () => {
    const pinned = { domain: "beta.test", publicKey: NEW.publicKey };
    const signed = async (): Promise<string> => (await signBurst(encodePeeringRequest(STATE), ROUTE, NEW)).toString();
    const changed = parse((await signed()).replace('state="suspended"', 'state="active"'));
    expect((await verifyBurst(changed, ROUTE, pinned)).ok).toBe(false);
    expect((await verifyBurst(parse(await signed()), { ...ROUTE, to: "gamma.test" }, pinned)).ok).toBe(false);
    expect((await verifyBurst(parse(await signed()), { ...ROUTE, from: "gamma.test" }, pinned)).ok).toBe(false);
    const moved = parse((await signed()).replace("urn:muster:peering:1", "urn:muster:burst:1"));
    expect((await verifyBurst(moved, ROUTE, pinned)).ok).toBe(false);
  });

  it("binds an answer to its question", async () => {
    const pinned = { domain: "beta.test", publicKey: NEW.publicKey };
    const question = encodePeeringRequest(STATE);
    const other = encodePeeringRequest({
      kind: "state",
      body: { ...STATE.body, state: "active", lend: LEND, sequence: 8 },
    });
    const answer = encodePeeringAnswer({ kind: "state-taken", body: { peering: PEERING, sequence: 7 } });
    const signed = await signBurst(answer, { ...ROUTE, question }, NEW);
    expect((await verifyBurst(parse(signed.toString()), { ...ROUTE, question: other }, pinned)).ok).toBe(false);
    expect((await verifyBurst(signed, { ...ROUTE, question }, pinned)).ok).toBe(true);
  });
});

describe("proof of an invitation", () => {
  const SECRET = Buffer.alloc(32, 5).toString("base64url");
  const CLAIM: InvitationClaim = {
    invitation: PEERING,
    inviter: "alpha.test",
    inviterKey: OLD.publicKey,
    acceptor: "beta.test",
    acceptorKey: NEW.publicKey,
    acceptorKeySequence: 1,
  };

  it("is right for the secret and the claim that it was made of, and for nothing else", () => {
    const proof = proveInvitation(SECRET, CLAIM);
    const proofKey = proofKeyOf(SECRET);
    expect(checkInvitation(proofKey, CLAIM, proof)).toBe(true);
    const other = proveInvitation(Buffer.alloc(32, 6).toString("base64url"), CLAIM);
    expect(checkInvitation(proofKey, CLAIM, other)).toBe(false);
    const changes: Partial<InvitationClaim>[] = [
      { invitation: "01900000-0000-7000-8000-000000000002" },
      { inviter: "mallory.test" },
      { inviterKey: OTHER.publicKey },
      { acceptor: "mallory.test" },
      { acceptorKey: OTHER.publicKey },
      { acceptorKeySequence: 2 },
    ];
    for (const change of changes) expect(checkInvitation(proofKey, { ...CLAIM, ...change }, proof)).toBe(false);
  });

  it("cannot be made from what is stored, nor checked by what is no key", () => {
    const forged = proveInvitation(proofKeyOf(SECRET), CLAIM);
    expect(checkInvitation(proofKeyOf(SECRET), CLAIM, forged)).toBe(false);
    expect(checkInvitation("nonsense", CLAIM, forged)).toBe(false);
  });
});
