import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { generateSiteKey, isPublicKey, jwkOf, keyFingerprint, pemOf, siteKeyFromJwk, siteKeyFromPem } from "./keys.ts";

describe("site key", () => {
  it("goes through PEM and JSON Web Key unchanged", () => {
    const key = generateSiteKey();
    for (const read of [siteKeyFromPem(pemOf(key)), siteKeyFromJwk(jwkOf(key))])
      expect(read).toMatchObject({ ok: true, value: { publicKey: key.publicKey, fingerprint: key.fingerprint } });
    expect(isPublicKey(key.publicKey)).toBe(true);
  });

  it("has the fingerprint of RFC 8037 appendix A.3", () => {
    expect(keyFingerprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).toBe(
      "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    );
  });

  it("S3: refuses what is no Ed25519 key without quoting it", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    expect(siteKeyFromPem(pem)).toEqual({ ok: false, error: "the site key is of type ec; make an Ed25519 key" });
    const damaged = siteKeyFromPem("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----");
    expect(damaged).toMatchObject({ ok: false, error: expect.not.stringContaining("secret") });
    for (const jwk of [undefined, "text", {}, { kty: "OKP", crv: "Ed25519", x: "AA" }])
      expect(siteKeyFromJwk(jwk).ok).toBe(false);
  });

  it.each(["", "short", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "+".repeat(43)])(
    "takes %j for no public key",
    (text) => {
      expect(isPublicKey(text)).toBe(false);
    },
  );
});
