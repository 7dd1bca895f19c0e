import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { takeImage } from "./take-image.ts";

const folder = mkdtempSync(join(tmpdir(), "take-image-"));
const path = join(folder, "image");
const CONTENT = Buffer.alloc(300_000, "some content ");
const digest = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;

async function* parts(content: Buffer, breaksAt = Number.POSITIVE_INFINITY): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += 65_536) {
    if (at >= breaksAt) throw new Error("the connection was reset");
    yield content.subarray(at, at + 65_536);
  }
}

afterEach(() => rmSync(path, { force: true }));
afterAll(() => rmSync(folder, { recursive: true }));

describe("takeImage", () => {
  it("gives the file its name when all of it is there and its digest is right", async () => {
    const seen: number[] = [];
    const taken = await takeImage(parts(CONTENT), {
      path,
      digest,
      bytesMax: CONTENT.length,
      onProgress: (bytes) => seen.push(bytes),
    });
    expect(taken).toEqual({ ok: true, value: { bytes: CONTENT.length } });
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    expect(seen.at(-1)).toBe(CONTENT.length);
    expect(readdirSync(folder)).toEqual(["image"]);
  });

  it("takes the same image in twice at once without mixing them, and leaves the other alone where one breaks off", async () => {
    const take = { path, digest, bytesMax: CONTENT.length };
    const both = await Promise.all([takeImage(parts(CONTENT), take), takeImage(parts(CONTENT, 100_000), take)]);
    expect(both).toMatchObject([{ ok: true }, { ok: false, error: { reason: "interrupted" } }]);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    expect(readdirSync(folder)).toEqual(["image"]);
  });

  it("leaves nothing of an image with another digest, one byte too large, broken off, given up, or without room", async () => {
    const abort = new AbortController();
    abort.abort();
    const cases = [
      [parts(CONTENT.subarray(1)), {}, "wrong-digest"],
      [parts(CONTENT), { bytesMax: CONTENT.length - 1 }, "too-large"],
      [parts(CONTENT, 100_000), {}, "interrupted"],
      [parts(CONTENT), { signal: abort.signal }, "interrupted"],
      [parts(CONTENT), { spareBytes: Number.MAX_SAFE_INTEGER }, "no-space"],
    ] as const;
    for (const [content, more, reason] of cases) {
      const taken = await takeImage(content, { path, digest, bytesMax: 1e6, ...more });
      expect(taken).toMatchObject({ ok: false, error: { reason } });
      expect(readdirSync(folder)).toEqual([]);
    }
  });
});
