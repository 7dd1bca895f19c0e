/**
 * Signatures that outlive the stanza: a detached JWS (RFC 7515 appendix F, EdDSA by RFC 8037) over the canonical text of a
 * receipt or verdict. Made and checked at once, within the step that stores them: Ed25519 is deterministic, so the same
 * receipt and key give the same proof, on every run.
 */
import { createPublicKey, sign, verify } from "node:crypto";
import { canonicalText, type Receipt, type Verdict } from "@muster/protocol";
import type { SiteKey } from "../peering/keys.ts";
import type { Evidence } from "./ledger-record.ts";

const ALGORITHM = "EdDSA";

/** What the lender signs. */
export function receiptText(receipt: Receipt): string {
  return canonicalText({ type: "urn:muster:receipt:1", receipt });
}

/** What the borrower signs: the verdict names the receipt by its digest. */
export function verdictText(route: { readonly lender: string; readonly borrower: string }, verdict: Verdict): string {
  const { lender, borrower } = route;
  return canonicalText({ type: "urn:muster:verdict:1", lender, borrower, verdict });
}

export function prove(text: string, key: SiteKey): Evidence {
  const header = encoded(JSON.stringify({ alg: ALGORITHM, kid: key.fingerprint }));
  const signature = sign(null, Buffer.from(`${header}.${encoded(text)}`), key.privateKey).toString("base64url");
  return { proof: `${header}..${signature}`, key: key.publicKey };
}

/** The first of these public keys that made the proof, as evidence to keep; `undefined` where none did. */
export function evidenceOf(text: string, proof: string, keys: readonly string[]): Evidence | undefined {
  const [header = "", , signature = ""] = proof.split(".");
  if (algorithmOf(header) !== ALGORITHM) return undefined;
  const signed = Buffer.from(`${header}.${encoded(text)}`);
  const found = keys.find((key) => isSignedBy(signed, Buffer.from(signature, "base64url"), key));
  return found === undefined ? undefined : { proof, key: found };
}

function isSignedBy(signed: Buffer, signature: Buffer, publicKey: string): boolean {
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: publicKey }, format: "jwk" });
    return verify(null, signed, key, signature);
  } catch {
    // No Ed25519 key: whatever it is, it did not sign this.
    return false;
  }
}

function algorithmOf(header: string): unknown {
  try {
    const read: unknown = JSON.parse(Buffer.from(header, "base64url").toString());
    return typeof read === "object" && read !== null && "alg" in read && !("crit" in read) ? read.alg : undefined;
  } catch {
    return undefined;
  }
}

function encoded(text: string): string {
  return Buffer.from(text).toString("base64url");
}
