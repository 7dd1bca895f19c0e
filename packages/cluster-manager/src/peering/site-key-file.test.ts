import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateSiteKey, pemOf } from "@muster/broker";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readSiteKeys } from "./site-key-file.ts";

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "site-key-"));
  file = join(folder, "site-key.pem");
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the site's key file", () => {
  it("holds keys in the order in which they follow each other, and is read again when asked", () => {
    const [first, second] = [generateSiteKey(), generateSiteKey()];
    writeFileSync(file, pemOf(first));
    const keys = readSiteKeys(file);
    if (!keys.ok) throw new Error(keys.error);
    expect(keys.value.lasting()).toEqual([first.publicKey]);
    appendFileSync(file, `\n${pemOf(second)}`);
    expect(keys.value.lasting()).toEqual([first.publicKey]);
    expect(keys.value.reload()).toEqual({ ok: true, value: [first.publicKey, second.publicKey] });
    expect(keys.value.keys().map(({ publicKey }) => publicKey)).toEqual([first.publicKey, second.publicKey]);
  });

  it("S3: says which key cannot be read and quotes none; what was read before stays", () => {
    const first = generateSiteKey();
    writeFileSync(file, pemOf(first));
    const keys = readSiteKeys(file);
    if (!keys.ok) throw new Error(keys.error);
    appendFileSync(file, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    const again = keys.value.reload();
    expect(again.ok ? "" : again.error).toMatch(/key 2: .*cannot be read/);
    expect(again.ok ? "" : again.error).not.toContain("c2VjcmV0");
    expect(keys.value.lasting()).toEqual([first.publicKey]);
  });

  it("S2: refuses a file that is none, is empty of keys, or holds too many", () => {
    expect(readSiteKeys(join(folder, "nothing")).ok).toBe(false);
    writeFileSync(file, "tokens: []\n");
    expect(readSiteKeys(file)).toMatchObject({ ok: false, error: expect.stringMatching(/cannot be read/) });
    writeFileSync(file, Array.from({ length: 33 }, () => pemOf(generateSiteKey())).join(""));
    expect(readSiteKeys(file)).toMatchObject({ ok: false, error: expect.stringMatching(/more than 32/) });
  });

  it("is not needed by a site without peers, which has no key to be pinned then", () => {
    const keys = readSiteKeys(undefined);
    if (!keys.ok) throw new Error(keys.error);
    expect(keys.value.lasting()).toEqual([]);
    expect(keys.value.keys()).toHaveLength(1);
  });
});
