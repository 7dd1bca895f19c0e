import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { readConfig, readSecret } from "./config.ts";

const schema = z.strictObject({ site: z.string(), xmpp: z.strictObject({ port: z.int() }) });
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-config-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function file(content: string): string {
  const path = join(folder, "c.yaml");
  writeFileSync(path, content);
  return path;
}

function faultOf(path: string): string {
  const read = readConfig(path, schema);
  return read.ok ? "" : read.error.message;
}

describe("readConfig", () => {
  it("returns a value that nobody can change", () => {
    const read = readConfig(file("site: a\nxmpp: { port: 1 }\n"), schema);
    expect(read.ok && Object.isFrozen(read.value) && Object.isFrozen(read.value.xmpp)).toBe(true);
  });

  it("names a missing file, a wrong type and an unknown key", () => {
    expect(faultOf(join(folder, "no.yaml"))).toMatch(/does not exist; create it/);
    expect(faultOf(file("site: 1\nxmpp: { port: x, prot: 2 }\n"))).toMatch(
      /site: .*; xmpp\.port: .*; xmpp\.prot: unknown key; did you mean "port"/,
    );
  });

  it("refuses what is no YAML, repeats a key, or multiplies itself by aliases", () => {
    expect(faultOf(file("site: [\n"))).toMatch(/is not valid YAML/);
    expect(faultOf(file("site: a\nsite: b\n"))).toMatch(/is not valid YAML/);
    expect(faultOf(file("x: &a [1]\nsite: *a\n"))).toMatch(/is not valid YAML: .*[Aa]lias/);
  });

  it("S2: refuses a file over its bound", () => {
    expect(faultOf(file("#".repeat(1024 * 1024 + 1)))).toMatch(/larger than/);
  });
});

describe("readSecret", () => {
  it("takes one trailing line break away and refuses an empty file", () => {
    const path = file("s3cret\n");
    expect(readSecret(path)).toEqual({ ok: true, value: "s3cret" });
    writeFileSync(path, "\n");
    const empty = readSecret(path);
    expect(empty.ok ? "" : empty.error.message).toMatch(/is empty/);
  });

  it("names what cannot be read as a file", () => {
    const read = readSecret(folder);
    expect(read.ok ? "" : read.error.message).toMatch(/cannot be read/);
  });
});
