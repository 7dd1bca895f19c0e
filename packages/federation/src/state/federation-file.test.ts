import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_WISH, planFederation } from "../plan/federation-plan.ts";
import { readFederationFile, writeFederationFile } from "./federation-file.ts";
import { defaultStateRoot, stateFolder } from "./state-folder.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-file-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the federation file", () => {
  it("tells the command line every site's addresses and where its token lies, and no secret (S3)", () => {
    const plan = planFederation({ ...DEFAULT_WISH, sites: 2, loopback: 11 });
    if (!plan.ok) throw new Error(plan.error);
    writeFederationFile(stateFolder(folder), plan.value);
    const file = readFederationFile(folder);
    expect(file.ok && file.value.sites).toEqual([
      expect.objectContaining({
        name: "alpha",
        domain: "alpha.test",
        urls: ["http://127.0.11.1:8080", "http://127.0.11.1:8081"],
      }),
      expect.objectContaining({ name: "beta", tokenFile: join(folder, "beta", "secrets", "admin-token") }),
    ]);
  });

  it.each([
    ["{", /cannot be read/],
    ['{"version":2}', /another version.*--fresh/],
    ['{"version":1,"wish":{},"sites":[]}', /another version.*--fresh/],
  ])("S1: says what to do about %j", (content, message) => {
    writeFileSync(join(folder, "federation.json"), content);
    const file = readFederationFile(folder);
    expect(!file.ok && file.error).toMatch(message);
  });

  it("says how to start one where there is none", () => {
    const file = readFederationFile(join(folder, "none"));
    expect(!file.ok && file.error).toMatch(/no federation in .*muster up.*--api/);
  });
});

describe("defaultStateRoot", () => {
  it("is what MUSTER_STATE says, else the system's place for root and the user's own for others", () => {
    expect(defaultStateRoot({ MUSTER_STATE: "/srv/m" })).toBe("/srv/m");
    const root = process.getuid?.() === 0;
    expect(defaultStateRoot({ MUSTER_STATE: "", XDG_STATE_HOME: "/srv/state" })).toBe(
      root ? "/var/lib/muster/up" : "/srv/state/muster",
    );
  });
});
