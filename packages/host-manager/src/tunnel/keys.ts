import { generateKeyPairSync } from "node:crypto";

/** A pair of keys as WireGuard has them (Curve25519, RFC 7748), each 32 bytes in base64. */
export type TunnelKeys = { readonly privateKey: string; readonly publicKey: string };

/** A new pair, for one end of one tunnel. */
export function newTunnelKeys(): TunnelKeys {
  const { privateKey } = generateKeyPairSync("x25519");
  const { d, x } = privateKey.export({ format: "jwk" });
  if (d === undefined || x === undefined) throw new Error("a key pair without keys");
  return { privateKey: base64(d), publicKey: base64(x) };
}

function base64(url: string): string {
  return Buffer.from(url, "base64url").toString("base64");
}
