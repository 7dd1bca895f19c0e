import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "@muster/base";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { downloadImage } from "./download-image.ts";
import { openSource } from "./image-source.ts";
import { imageFaultOf } from "./source-fault.ts";
import { TransferWatch } from "./transfer-watch.ts";

const ADDRESS = "127.51.0.7";
const TICKET = "?ticket=s3cret";
const LIMITS = { wholeMs: 60_000, silenceMs: 10_000 };
const CONTENT = Buffer.alloc(2 ** 20, "content ");
const digest = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;
const HEAD = `HTTP/1.1 200 OK\r\ncontent-length: ${CONTENT.length}\r\n\r\n`;

const folder = mkdtempSync(join(tmpdir(), "download-image-"));
const path = join(folder, "image");
const servers: Server[] = [];
const sockets: Socket[] = [];
let clock: VirtualClock;

beforeEach(() => {
  clock = new VirtualClock();
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
  rmSync(path, { force: true });
  expect(clock.nextDueMs()).toBeUndefined();
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Gives each connection to `answer` once it has asked. */
async function serve(answer: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", () => answer(socket));
  });
  servers.push(server);
  server.listen(0, ADDRESS);
  await once(server, "listening");
  const address = server.address();
  return `http://${ADDRESS}:${typeof address === "object" ? address?.port : 0}/image${TICKET}`;
}

/** What it sends before it hangs up. */
function sends(...parts: readonly (string | Buffer)[]): (socket: Socket) => void {
  return (socket) => {
    for (const part of parts) socket.write(part);
    socket.end();
  };
}

const get = (url: string, more: object = {}) =>
  downloadImage({ url, path, digest, bytesMax: CONTENT.length, clock, limits: LIMITS, ...more });

/** Reads the source as a disk does that stands still, after the first bytes, until the server has hung up. */
async function readSlowly(url: string, hangUp: () => Promise<unknown>): Promise<{ bytes: number; fault: unknown }> {
  const watch = new TransferWatch(clock, LIMITS);
  const source = await openSource(url, watch);
  if (!source.ok) throw new Error(source.error.kind);
  let bytes = 0;
  try {
    for await (const chunk of source.value.content) {
      bytes += chunk.byteLength;
      await hangUp();
      // The end of the connection has its turns to arrive, at every chunk.
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    }
  } catch {
    // Told by the fault.
  } finally {
    source.value.close();
    watch.stop();
  }
  return { bytes, fault: source.value.fault() };
}

describe("a server that hangs up while the disk is slow", () => {
  // What is still to be read when the end arrives depends on the size: one of these has it in every buffer on the way.
  it.each([32, 64, 96, 128, 160, 192, 256, 1_024])("the process survives and all %i KiB arrive", async (sizeKiB) => {
    const content = CONTENT.subarray(0, sizeKiB * 1_024);
    for (const head of [`HTTP/1.1 200 OK\r\ncontent-length: ${content.length}\r\n\r\n`, "HTTP/1.0 200 OK\r\n\r\n"]) {
      const hungUp = Promise.withResolvers<void>();
      const url = await serve((socket) => {
        sends(head, content)(socket);
        socket.once("finish", hungUp.resolve);
      });
      expect(await readSlowly(url, () => hungUp.promise)).toEqual({ bytes: content.length, fault: undefined });
    }
  });

  it("the process survives where it hangs up half-way or without a word, and the fault says so", async () => {
    const half = CONTENT.subarray(0, CONTENT.length / 2);
    for (const end of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      const url = await serve((socket) => {
        socket.write(HEAD);
        socket.write(half);
      });
      const read = await readSlowly(url, async () => {
        const socket = sockets.at(-1);
        if (socket === undefined || socket.writableEnded || socket.destroyed) return;
        const gone = Promise.race([once(socket, "finish"), once(socket, "close")]);
        end(socket);
        await gone;
      });
      expect(read.fault).toEqual({ kind: "broke-off", code: "ECONNRESET" });
      expect(read.bytes).toBeLessThanOrEqual(half.length);
    }
  });
});

describe("downloadImage", () => {
  it("takes in what comes, tells how far it is, and leaves the file alone in its folder", async () => {
    const seen: unknown[] = [];
    const url = await serve(sends(HEAD, CONTENT));
    const onProgress = (...at: unknown[]): unknown => seen.push(at);
    expect(await get(url, { onProgress })).toEqual({ ok: true, value: { bytes: CONTENT.length } });
    expect(seen.at(-1)).toEqual([CONTENT.length, CONTENT.length]);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    expect(readdirSync(folder)).toEqual(["image"]);
  });

  it("follows redirects to another server, five and no more, and only to http and https (S2)", async () => {
    let url = await serve(sends(HEAD, CONTENT));
    for (let hop = 1; hop <= 6; hop += 1) {
      url = await serve(sends(`HTTP/1.1 302 Found\r\nlocation: ${url}\r\ncontent-length: 0\r\n\r\n`));
      const came = await get(url);
      if (hop <= 5) expect(came).toMatchObject({ ok: true });
      else expect(came).toEqual({ ok: false, error: { kind: "redirects", most: 5 } });
    }
    expect(await get(url, { redirectsMax: 0 })).toEqual({ ok: false, error: { kind: "redirects", most: 0 } });
    const file = await serve(sends("HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\n\r\n"));
    expect(await get(file)).toEqual({ ok: false, error: { kind: "no-http" } });
    const nowhere = await serve(sends("HTTP/1.1 302 Found\r\nlocation: http://[\r\n\r\n"));
    expect(await get(nowhere)).toEqual({ ok: false, error: { kind: "no-http" } });
    expect(await get("file:///etc/passwd")).toEqual({ ok: false, error: { kind: "no-http" } });
  });

  it("S3: no fault holds the address, and nothing is left of what it is about", async () => {
    const cases = [
      [await serve(sends("HTTP/1.1 404 Not Found\r\n\r\n")), { kind: "status", status: 404 }],
      [await serve(sends("HTTP/1.1 206 Partial Content\r\n\r\n", CONTENT)), { kind: "status", status: 206 }],
      [await serve(sends("no HTTP at all\r\n\r\n")), { kind: "unreachable" }],
      [await serve(sends(HEAD, CONTENT.subarray(9))), { kind: "broke-off", code: "ECONNRESET" }],
      [`http://${ADDRESS}:1/${TICKET}`, { kind: "unreachable", code: "ECONNREFUSED" }],
      [`https://nobody.invalid/${TICKET}`, { kind: "unreachable" }],
      [await serve(sends("HTTP/1.1 200 OK\r\n\r\n", CONTENT.subarray(9))), { fault: { reason: "wrong-digest" } }],
      [await serve(sends("HTTP/1.1 200 OK\r\n\r\n", CONTENT, "more")), { fault: { reason: "too-large" } }],
      [await serve(sends(`HTTP/1.1 200 OK\r\ncontent-length: ${2 ** 40}\r\n\r\n`)), { fault: { reason: "too-large" } }],
    ] as const;
    for (const [url, fault] of cases) {
      const came = await get(url);
      expect(came).toMatchObject({ ok: false, error: fault });
      const told = came.ok ? "" : JSON.stringify([came.error, imageFaultOf(came.error)]);
      expect(told).not.toMatch(/s3cret|127\.51|nobody\.invalid|https?:\/\//);
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  it.each([
    ["before it answers", []],
    ["within its body", [HEAD, CONTENT.subarray(9)]],
  ])("a source that is silent %s is given up at the limit of silence", async (_when, parts) => {
    const asked = Promise.withResolvers<void>();
    const url = await serve((socket) => {
      for (const part of parts) socket.write(part);
      asked.resolve();
    });
    let came = 0;
    const arrived = Promise.withResolvers<void>();
    const all = parts.length === 0 ? 0 : CONTENT.length - 9;
    const coming = get(url, {
      onProgress: (bytes: number) => {
        came = bytes;
        if (came === all) arrived.resolve();
      },
    });
    await (all === 0 ? asked.promise : arrived.promise);
    // The next part is waited for once this one is written.
    await new Promise(setImmediate);
    clock.advance(LIMITS.silenceMs);
    expect(await coming).toEqual({ ok: false, error: { kind: "silent", silenceMs: LIMITS.silenceMs } });
    expect(readdirSync(folder)).toEqual([]);
  });

  it("a source that always says a little is given up at the limit of the whole transfer", async () => {
    const url = await serve((socket) => {
      socket.write(HEAD);
      socket.write("c");
    });
    const onProgress = (bytes: number): void => {
      if (bytes * 6_000 <= LIMITS.wholeMs) clock.advance(6_000);
      sockets.at(-1)?.write("c");
    };
    expect(await get(url, { onProgress })).toEqual({ ok: false, error: { kind: "slow", wholeMs: LIMITS.wholeMs } });
    expect(readdirSync(folder)).toEqual([]);
  });

  it("a disk that takes its time is no silence of the source", async () => {
    const url = await serve(sends(HEAD, CONTENT));
    const limits = { wholeMs: 1e9, silenceMs: 10 };
    expect(await get(url, { limits, onProgress: () => clock.advance(1_000) })).toMatchObject({ ok: true });
  });

  it("stops when it is given up, before it begins or half-way", async () => {
    const url = await serve(sends(HEAD, CONTENT));
    const abort = new AbortController();
    const halfWay = await get(url, { signal: abort.signal, onProgress: () => abort.abort() });
    const before = await get(url, { signal: abort.signal });
    for (const came of [halfWay, before]) {
      expect(came.ok ? "came" : imageFaultOf(came.error)).toEqual({
        reason: "interrupted",
        message: "it was given up",
      });
    }
    expect(readdirSync(folder)).toEqual([]);
  });
});
