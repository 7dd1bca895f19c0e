import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { downloadImage } from "./image-download.ts";

const folder = mkdtempSync(join(tmpdir(), "image-download-"));
const CONTENT = Buffer.alloc(16 * 2 ** 20, "content ");
const digest = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;
const servers: Server[] = [];

/** Answers every connection with these bytes and closes it, as HTTP/1.0 has it. */
async function serve(...parts: readonly (string | Buffer)[]): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      for (const part of parts) socket.write(part);
      socket.end();
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.52.0.3", resolve));
  const address = server.address();
  return `http://127.52.0.3:${typeof address === "object" ? address?.port : 0}/image`;
}

const get = (url: string, more: object = {}) =>
  downloadImage({ url, path: join(folder, "image"), digest, bytesMax: 2 ** 30, onProgress: () => {}, ...more });

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(join(folder, "image"), { force: true });
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("downloadImage", () => {
  it("takes what a server sends that closes the connection before all of it is read", async () => {
    const url = await serve(`HTTP/1.0 200 OK\r\ncontent-length: ${CONTENT.length}\r\n\r\n`, CONTENT);
    expect(await get(url)).toEqual({ ok: true, value: { bytes: CONTENT.length } });
    const open = await serve("HTTP/1.0 200 OK\r\n\r\n", CONTENT);
    expect(await get(open)).toEqual({ ok: true, value: { bytes: CONTENT.length } });
  });

  it("follows a redirect, but not for ever and not to another kind of address", async () => {
    const end = await serve("HTTP/1.0 200 OK\r\n\r\n", CONTENT);
    const once = await serve(`HTTP/1.0 302 Found\r\nlocation: ${end}\r\n\r\n`);
    expect(await get(once)).toMatchObject({ ok: true });
    const file = await serve("HTTP/1.0 302 Found\r\nlocation: file:///etc/passwd\r\n\r\n");
    expect(await get(file)).toMatchObject({
      ok: false,
      error: { message: expect.stringContaining("no http or https") },
    });
    const round = await serve("HTTP/1.0 302 Found\r\nlocation: /image\r\n\r\n");
    expect(await get(round)).toMatchObject({
      ok: false,
      error: { message: expect.stringContaining("more than 5 times") },
    });
  });

  it("says what went wrong, and leaves nothing", async () => {
    const cases = [
      [await serve("HTTP/1.0 404 Not Found\r\n\r\n"), {}, "status 404"],
      [
        await serve(`HTTP/1.1 200 OK\r\ncontent-length: ${CONTENT.length}\r\n\r\n`, CONTENT.subarray(9)),
        {},
        "broke off",
      ],
      [await serve("HTTP/1.0 200 OK\r\ncontent-length: 999999999999\r\n\r\n"), {}, "room for"],
      [await serve("no HTTP at all\r\n\r\n"), {}, "cannot be reached"],
      ["http://127.52.0.3:1/image", {}, "ECONNREFUSED"],
    ] as const;
    for (const [url, more, words] of cases) {
      const came = await get(url, more);
      expect(!came.ok && came.error.message).toContain(words);
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  it("stops when it is given up", async () => {
    const abort = new AbortController();
    const url = await serve("HTTP/1.0 200 OK\r\n\r\n", CONTENT);
    const came = await get(url, { signal: abort.signal, onProgress: () => abort.abort() });
    expect(came).toMatchObject({ ok: false, error: { reason: "interrupted" } });
    expect(readdirSync(folder)).toEqual([]);
  });
});
