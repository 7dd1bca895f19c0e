import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRng } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SecretStore, tokenDigest } from "./secret-store.ts";

let folder: string;
const umask = process.umask();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-secrets-"));
});

afterEach(() => {
  process.umask(umask);
  rmSync(folder, { recursive: true, force: true });
});

describe("SecretStore", () => {
  it.each([0o000, 0o022, 0o077])(
    "S3: lets nobody else read secrets, and everybody through beside them (umask %o)",
    (mask) => {
      process.umask(mask);
      const store = new SecretStore(join(folder, "alpha", "secrets"), seededRng(1));
      store.secret("admin-token");
      store.siteKey("site-key.pem");
      const mode = (path: string): number => statSync(path).mode & 0o777;
      expect(mode(store.path("admin-token"))).toBe(0o600);
      expect(mode(store.path("site-key.pem"))).toBe(0o600);
      expect(mode(join(folder, "alpha", "secrets"))).toBe(0o700);
      expect(mode(join(folder, "alpha"))).toBe(0o711);
    },
  );

  it("makes each secret once: the same after a restart, another for another name", () => {
    const make = (seed: number) => new SecretStore(join(folder, "alpha", "secrets"), seededRng(seed));
    const [secret, key] = [make(1).secret("one"), make(1).siteKey("key.pem").publicKey];
    expect(make(2).secret("one")).toBe(secret);
    expect(make(2).siteKey("key.pem").publicKey).toBe(key);
    expect(make(2).secret("two")).not.toBe(secret);
    expect(secret).toMatch(/^[\w-]{43}$/);
    expect(Buffer.from(key, "base64url")).toHaveLength(32);
    expect(readFileSync(make(1).path("key.pem"), "utf8")).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  });

  it("S3: keeps no token on the server's side, only its digest", () => {
    expect(tokenDigest("secret")).toBe("2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
  });
});
