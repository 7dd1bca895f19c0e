import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readSshKeys, readUserData } from "./login-files.ts";

const folder = mkdtempSync(join(tmpdir(), "login-files-"));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
afterAll(() => rmSync(folder, { recursive: true }));

describe("files for a login", () => {
  it("reads the key that ssh-keygen writes, and says so when it is the private half", () => {
    const path = join(folder, "id");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "ann@laptop", "-f", path]);
    const keys = readSshKeys([`${path}.pub`, `${path}.pub`]);
    expect(keys).toMatchObject({ ok: true, value: [expect.stringMatching(/^ssh-ed25519 \S+ ann@laptop$/)] });
    expect(readSshKeys([path])).toMatchObject({ ok: false, error: expect.stringContaining("give its .pub file") });
  });

  it("refuses what is no key, empty, too large or not there, naming the file", () => {
    const cases = [
      [file("words", "not a key\n"), "must be one public key"],
      [
        file("kind", `ssh-ed25519 ${Buffer.from("something else altogether, long enough").toString("base64")}\n`),
        "must be",
      ],
      [file("empty", "\n# nothing\n"), "holds no public key"],
      [file("large", "x".repeat(300_000)), "300000 bytes"],
      [join(folder, "missing"), "ENOENT"],
    ] as const;
    for (const [path, words] of cases) {
      const keys = readSshKeys([path]);
      expect(!keys.ok && keys.error).toContain(words);
      expect(!keys.ok && keys.error).toContain(path);
    }
  });

  it("S2: refuses user-data over its bound before anything is sent", () => {
    expect(readUserData(file("good", "#cloud-config\n"))).toEqual({ ok: true, value: "#cloud-config\n" });
    expect(readUserData(file("long", "x".repeat(16_385)))).toMatchObject({
      ok: false,
      error: expect.stringContaining("at most 16384"),
    });
  });
});
