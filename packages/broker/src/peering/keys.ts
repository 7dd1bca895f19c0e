/** A site's Ed25519 key: what it signs with, and the public half that its peers pin (RFC 8037). */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { err, ok, type Result } from "@muster/base";

export type SiteKey = {
  readonly privateKey: KeyObject;
  /** JWK `x`, base64url without padding: what stands in a peer's `Peering.publicKey`. */
  readonly publicKey: string;
  readonly fingerprint: string;
};

/** The private key as JSON Web Key; keep it out of logs and stanzas (S3). */
export type SiteJwk = { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string; readonly d: string };

const KEY_BYTES = 32;

/** A new key from the operating system's randomness. */
export function generateSiteKey(): SiteKey {
  return siteKeyOf(generateKeyPairSync("ed25519").privateKey);
}

/** Reads a PKCS #8 PEM, as `pemOf` writes it and `openssl genpkey -algorithm ed25519` too. Errors say what to do. */
export function siteKeyFromPem(pem: string): Result<SiteKey, string> {
  return readKey(() => createPrivateKey({ key: pem, format: "pem" }));
}

export function siteKeyFromJwk(jwk: unknown): Result<SiteKey, string> {
  if (typeof jwk !== "object" || jwk === null) return err("the site key is no JSON Web Key");
  return readKey(() => createPrivateKey({ key: { ...jwk }, format: "jwk" }));
}

export function pemOf(key: SiteKey): string {
  return key.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

export function jwkOf(key: SiteKey): SiteJwk {
  const { d } = key.privateKey.export({ format: "jwk" });
  return { kty: "OKP", crv: "Ed25519", x: key.publicKey, d: d ?? "" };
}

/** JWK thumbprint with SHA-256 (RFC 7638, members by RFC 8037 section 2): short enough for two admins to read out. */
export function keyFingerprint(publicKey: string): string {
  const members = `{"crv":"Ed25519","kty":"OKP","x":"${publicKey}"}`;
  return createHash("sha256").update(members).digest("base64url");
}

/** Whether the text can be a pinned key: 32 bytes in base64url. */
export function isPublicKey(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text) && Buffer.from(text, "base64url").length === KEY_BYTES;
}

function readKey(read: () => KeyObject): Result<SiteKey, string> {
  try {
    const key = read();
    if (key.asymmetricKeyType === "ed25519") return ok(siteKeyOf(key));
    return err(`the site key is of type ${key.asymmetricKeyType ?? "unknown"}; make an Ed25519 key`);
  } catch {
    // The parser's own words could quote the key (S3).
    return err("the site key cannot be read; make a new one, as PKCS #8 PEM or JSON Web Key");
  }
}

function siteKeyOf(privateKey: KeyObject): SiteKey {
  const publicKey = createPublicKey(privateKey).export({ format: "jwk" }).x ?? "";
  return { privateKey, publicKey, fingerprint: keyFingerprint(publicKey) };
}
