import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const MAIN = join(import.meta.dirname, "..", "main.ts");
const HEAD = { format: "muster-backup", version: 1, site: "alpha.test", schema: 1, term: 7, manager: "a" };
const FIRST = `${JSON.stringify({ ...HEAD, takenAt: "2027-01-01T00:00:00.000Z" })}\n`;
/** SHA-256 of the first line alone. */
const WHOLE = `${FIRST}{"end":true,"records":0,"sha256":"${await digestOf(FIRST)}"}\n`;

let folder: string;
let server: Server | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-cli-backup-"));
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function digestOf(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Buffer.from(bytes).toString("hex");
}

async function serve(listener: RequestListener): Promise<string> {
  const made = createServer(listener);
  server = made;
  await new Promise<void>((resolve) => made.listen(0, "127.42.0.2", () => resolve()));
  return `http://127.42.0.2:${(made.address() as AddressInfo).port}`;
}

function muster(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const argv = ["--conditions=muster-source", MAIN, ...args];
  const options = { cwd: folder, timeout: 30_000, env: { ...process.env, MUSTER_TOKEN: "token" } };
  return new Promise((resolve) =>
    execFile(process.execPath, argv, options, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr }),
    ),
  );
}

/** Each call starts a process. */
const PATIENT = { timeout: 60_000 };

describe("muster backup", PATIENT, () => {
  it("writes a whole backup to its file, or to stdout", async () => {
    const api = await serve((_request, reply) => reply.end(WHOLE));
    const path = join(folder, "a.backup");
    expect(await muster("backup", path, "--api", api)).toMatchObject({ code: 0, stdout: "" });
    expect(readFileSync(path, "utf8")).toBe(WHOLE);
    expect(await muster("backup", "-", "--api", api)).toEqual({ code: 0, stdout: WHOLE, stderr: "" });
  });

  it("leaves no file, and ends with 5, where the backup breaks off", async () => {
    const api = await serve((_request, reply) => {
      reply.write(FIRST);
      setImmediate(() => reply.destroy());
    });
    expect(await muster("backup", join(folder, "a.backup"), "--api", api)).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/broke off.*take it again/),
    });
    expect(readdirSync(folder)).toEqual([]);
    expect((await muster("backup", "-", "--api", api)).code).toBe(5);
  });

  it("takes one without its end for none", async () => {
    const api = await serve((_request, reply) => reply.end(FIRST));
    expect((await muster("backup", "-", "--api", api)).code).toBe(5);
    const { code, stderr } = await muster("backup", join(folder, "a.backup"), "--api", api);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/cut off/)]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("overwrites nothing, and says with 4 that the token does not allow it", async () => {
    const detail = "only an admin may";
    const problem = {
      type: "about:blank",
      title: "forbidden",
      status: 403,
      detail,
      kind: "forbidden",
      reason: "no-backup",
    };
    const allowed = await serve((_request, reply) => reply.end(WHOLE));
    writeFileSync(join(folder, "a.backup"), "precious");
    expect((await muster("backup", "a.backup", "--api", allowed)).code).toBe(1);
    expect(readFileSync(join(folder, "a.backup"), "utf8")).toBe("precious");
    server?.close();
    const forbidding = await serve((_request, reply) => {
      reply.writeHead(403, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
    });
    expect(await muster("backup", "b.backup", "--api", forbidding)).toMatchObject({
      code: 4,
      stderr: `muster: ${detail}\n`,
    });
  });
});

describe("muster restore", PATIENT, () => {
  it.each<[string, readonly string[], RegExp]>([
    ["no backup and no --in-place", ["--config", "c.yaml"], /one of them/],
    ["no configuration", ["a.backup"], /--config/],
    ["a configuration that is none", ["a.backup", "--config", "missing.yaml", "--yes"], /missing\.yaml/],
    ["a term that is no number", ["--in-place", "--above", "x", "--config", "c.yaml"], /whole number/],
  ])("ends with 2 for %s", async (_what, args, message) => {
    const { code, stderr } = await muster("restore", ...args);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  });

  it("asks before it replaces anything, and without a terminal wants --yes", async () => {
    const config = "site: alpha.test\nxmpp: { secretFile: s }\nstore: { path: store }\napi: { tokensFile: t }\n";
    writeFileSync(join(folder, "c.yaml"), config);
    writeFileSync(join(folder, "a.backup"), WHOLE);
    expect(await muster("restore", "a.backup", "--config", "c.yaml")).toMatchObject({ code: 2 });
    expect(readdirSync(folder).sort()).toEqual(["a.backup", "c.yaml"]);
    expect(await muster("restore", "a.backup", "--config", "c.yaml", "--yes")).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/0 records are in place; the site goes on above term 1001/),
    });
    expect((await muster("restore", "nothing.backup", "--config", "c.yaml", "--yes")).code).toBe(1);
    const { stdout } = await muster("doctor", "--config", "c.yaml", "--api", "http://127.42.0.3:1");
    expect(stdout).toMatch(/store +ok .*1 sound records, term 1001/);
  });
});
