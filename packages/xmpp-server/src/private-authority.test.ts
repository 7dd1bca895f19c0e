import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, VirtualClock } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureAuthority, ensureManagerCertificate, ensureSiteCertificate } from "./private-authority.ts";
import { must } from "./testing/test-sites.ts";

const DAY_MS = 24 * 3_600_000;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "authority-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe("the private authority", () => {
  it("certifies a site for exactly its names, both ends of a connection, with a key that only its owner reads", async () => {
    const authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
    const site = await certify(["alpha.test", "cloud.alpha.test"]);
    const certificate = await read(site.certificatePath);
    expect(certificate.subjectAltName).toBe("DNS:alpha.test, DNS:cloud.alpha.test");
    expect(certificate.checkHost("cloud.alpha.test")).toBe("cloud.alpha.test");
    expect(certificate.checkHost("beta.test")).toBeUndefined();
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(certificate.verify((await read(site.caPath)).publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(await readFile(site.keyPath)))).toBe(true);
    expect((await read(authority.certificatePath)).ca).toBe(true);
    for (const key of [authority.keyPath, site.keyPath]) expect((await stat(key)).mode & 0o777).toBe(0o600);
    for (const path of ["ca", "site"]) expect((await stat(join(folder, path))).mode & 0o777).toBe(0o700);
    expect((await readdir(join(folder, "site"))).sort()).toEqual(["ca.crt", "site.crt", "site.key"]);
  });

  it("certifies a manager as a client alone, for its own component, kept while it serves", async () => {
    const authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
    const leaf = { authority, folder: join(folder, "a"), name: "cm-a.alpha.test", runAs: undefined };
    const manager = must(await ensureManagerCertificate(leaf, systemClock));
    const certificate = await read(manager.certificatePath);
    expect(certificate.subjectAltName).toBe("DNS:cm-a.alpha.test");
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
    expect(certificate.verify((await read(manager.caPath)).publicKey)).toBe(true);
    expect((await stat(manager.keyPath)).mode & 0o777).toBe(0o600);
    expect((await readdir(leaf.folder)).sort()).toEqual(["ca.crt", "manager.crt", "manager.key"]);
    expect(must(await ensureManagerCertificate(leaf, systemClock)).issued).toBe(false);
    expect(must(await ensureManagerCertificate({ ...leaf, name: "cm-b.alpha.test" }, systemClock)).issued).toBe(true);
  });

  it("is made once: a second start uses what is there", async () => {
    const first = await certify(["alpha.test"]);
    const [certificate, authority] = [await readFile(first.certificatePath), await readFile(first.caPath)];
    const second = await certify(["alpha.test"]);
    expect([first.issued, second.issued]).toEqual([true, false]);
    expect(await readFile(second.certificatePath)).toEqual(certificate);
    expect(await readFile(second.caPath)).toEqual(authority);
  });

  it("issues anew when the names change, the key is gone or foreign, the file is damaged, or the authority is another", async () => {
    const site = await certify(["alpha.test"]);
    const { keyPath: foreignKey } = await certify(["other.test"], "other");
    const damages: [string, () => Promise<unknown>][] = [
      ["names", async () => {}],
      ["key gone", () => rm(site.keyPath)],
      ["key of another", async () => writeFile(site.keyPath, await readFile(foreignKey))],
      ["damaged", () => writeFile(site.certificatePath, "-----BEGIN CERTIFICATE-----\nnonsense")],
      ["empty", () => writeFile(site.certificatePath, "")],
      ["authority", () => rm(join(folder, "ca"), { recursive: true })],
    ];
    for (const [what, damage] of damages) {
      await damage();
      const again = await certify(["alpha.test", "cloud.alpha.test"]);
      expect([what, again.issued]).toEqual([what, true]);
      expect((await certify(["alpha.test", "cloud.alpha.test"])).issued).toBe(false);
    }
  });

  it("issues anew in time before a certificate runs out", async () => {
    const site = await certify(["alpha.test"]);
    const endMs = Date.parse((await read(site.certificatePath)).validTo);
    const clockAt = (wallMs: number) => new VirtualClock(0, wallMs);
    expect((await certify(["alpha.test"], "site", clockAt(endMs - 31 * DAY_MS))).issued).toBe(false);
    expect((await certify(["alpha.test"], "site", clockAt(endMs - 29 * DAY_MS))).issued).toBe(true);
  });

  it("says what is in the way when it cannot write", async () => {
    await writeFile(join(folder, "file"), "");
    expect(await ensureAuthority(join(folder, "file"), systemClock)).toMatchObject({
      ok: false,
      error: { kind: "folder-unusable", reason: "a file is in the way" },
    });
  });

  it("names the package when openssl is missing", async () => {
    const path = process.env.PATH;
    await mkdir(join(folder, "empty"));
    process.env.PATH = join(folder, "empty");
    try {
      expect(await ensureAuthority(join(folder, "ca"), systemClock)).toEqual({
        ok: false,
        error: { kind: "binary-missing", binary: "openssl", debianPackage: "openssl" },
      });
    } finally {
      process.env.PATH = path;
    }
    expect(await readdir(join(folder, "ca"))).toEqual([]);
  });
});

async function certify(names: readonly string[], name = "site", clock = systemClock) {
  const authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
  return must(await ensureSiteCertificate({ authority, folder: join(folder, name), names, runAs: undefined }, clock));
}

async function read(path: string): Promise<X509Certificate> {
  return new X509Certificate(await readFile(path));
}
