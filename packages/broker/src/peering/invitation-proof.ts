/**
 * Possession of an invitation, proved without showing its secret: the secret is the seed of an Ed25519 key (RFC 8032), the
 * inviting site keeps the public half only, and the proof is a signature over who invites whom with which keys. Neither
 * the stored record nor a proof that was overheard accepts anything.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { type Accept, canonicalText } from "@muster/protocol";

/** What a proof is bound to. */
export type InvitationClaim = {
  readonly invitation: string;
  readonly inviter: string;
  readonly inviterKey: string;
  readonly acceptor: string;
  readonly acceptorKey: string;
  readonly acceptorKeySequence: number;
};

/** An Ed25519 private key in PKCS #8 (RFC 8410) but for its 32 bytes. */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

/** What is stored of an invitation's secret; `secret` is 32 random bytes in base64url. */
export function proofKeyOf(secret: string): string {
  return createPublicKey(keyOf(secret)).export({ format: "jwk" }).x ?? "";
}

export function proveInvitation(secret: string, claim: InvitationClaim): string {
  return sign(null, textOf(claim), keyOf(secret)).toString("base64url");
}

/** Whether the proof was made with the secret of this proof key, for exactly this claim. */
export function checkInvitation(proofKey: string, claim: InvitationClaim, proof: Accept["proof"]): boolean {
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: proofKey }, format: "jwk" });
    return verify(null, textOf(claim), key, Buffer.from(proof, "base64url"));
  } catch {
    return false;
  }
}

function keyOf(secret: string): KeyObject {
  const key = Buffer.concat([PKCS8_HEAD, Buffer.from(secret, "base64url")]);
  return createPrivateKey({ key, format: "der", type: "pkcs8" });
}

function textOf(claim: InvitationClaim): Buffer {
  return Buffer.from(canonicalText({ said: "invitation", ...claim }));
}
