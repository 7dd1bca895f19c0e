import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Rng } from "@muster/base";

/** Secrets of one site: made once, kept in files that only their owner reads (S3). */
export class SecretStore {
  readonly #folder: string;
  readonly #rng: Rng;

  constructor(folder: string, rng: Rng) {
    this.#folder = folder;
    this.#rng = rng;
    // The folders above stay open for passing through: the XMPP server's own user has to reach its folder beside this one.
    if (mkdirSync(dirname(folder), { recursive: true }) !== undefined) chmodSync(dirname(folder), 0o711);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  path(name: string): string {
    return join(this.#folder, name);
  }

  /** The secret of that name, made on first use: 32 random bytes in base64url. */
  secret(name: string): string {
    const path = this.path(name);
    if (!existsSync(path)) writePrivately(path, `${Buffer.from(this.#rng.bytes(32)).toString("base64url")}\n`);
    return readFileSync(path, "utf8").trim();
  }

  /** The site key (Ed25519, PKCS #8 PEM), made on first use; returns the public half as JWK `x` (RFC 8037). */
  siteKey(name: string): { readonly path: string; readonly publicKey: string } {
    const path = this.path(name);
    if (!existsSync(path)) {
      const { privateKey } = generateKeyPairSync("ed25519");
      writePrivately(path, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
    }
    const publicKey = createPublicKey(createPrivateKey(readFileSync(path, "utf8")));
    return { path, publicKey: publicKey.export({ format: "jwk" }).x ?? "" };
  }
}

/** What is kept of an API token on the server's side. */
export function tokenDigest(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** Replaces the file as a whole, readable by its owner only. */
export function writePrivately(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const staged = `${path}.new`;
  writeFileSync(staged, content, { mode: 0o600 });
  renameSync(staged, path);
}
