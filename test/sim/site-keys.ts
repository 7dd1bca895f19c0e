/** The keys of sites: made from nothing but the site and a number, so that the same run signs the same. */
import { createHash, createPrivateKey } from "node:crypto";
import { type SiteKey, siteKeyFromPem } from "@muster/broker";

/** As many as a site may rotate through in one run. */
const KEYS_PER_SITE = 6;
/** An Ed25519 private key in PKCS #8 (RFC 8410) but for its 32 bytes. */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");
const made = new Map<string, readonly SiteKey[]>();

/** What the key file of a site has, in order. */
export function siteKeys(domain: string): readonly SiteKey[] {
  const known = made.get(domain);
  if (known !== undefined) return known;
  const keys = Array.from({ length: KEYS_PER_SITE }, (_, index) => keyFrom(`${domain}/${index}`));
  made.set(domain, keys);
  return keys;
}

/** 32 bytes that only look random. */
export function bytesFrom(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function keyFrom(text: string): SiteKey {
  const der = Buffer.concat([PKCS8_HEAD, bytesFrom(text)]);
  const pem = createPrivateKey({ key: der, format: "der", type: "pkcs8" }).export({ format: "pem", type: "pkcs8" });
  const key = siteKeyFromPem(pem.toString());
  if (!key.ok) throw new Error(key.error);
  return key.value;
}
