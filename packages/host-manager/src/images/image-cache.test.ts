import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import type { GuestImage } from "@muster/protocol";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeDisk } from "../guest/disk.ts";
import { GuestFolders } from "../guest/guest-folder.ts";
import { vmId } from "../testing/fixture.ts";
import { until } from "../testing/until.ts";
import { evict } from "./eviction.ts";
import { ImageCache } from "./image-cache.ts";

const MIB = 2 ** 20;

let folder: string;
let server: Server;
let folders: GuestFolders;
let changes: number;
let requests: string[];
let respond: (path: string, response: ServerResponse) => void;
const files = new Map<string, Buffer>();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "muster-im-"));
  folders = new GuestFolders(join(folder, "guests"));
  await folders.open();
  changes = 0;
  requests = [];
  files.clear();
  respond = (path, response) => {
    const file = files.get(path);
    if (file === undefined) response.writeHead(404);
    response.end(file);
  };
  server = createServer((request, response) => {
    requests.push(request.url ?? "");
    respond(request.url ?? "", response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.51.0.2", resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

async function cache(limitBytes = 64 * MIB, stallMs = 5_000): Promise<ImageCache> {
  const opened = new ImageCache({
    folder: join(folder, "images"),
    limitBytes,
    clock: systemClock,
    fetch: { fetchMs: 10_000, stallMs },
    basesInUse: () => folders.bases(),
    onChange: () => {
      changes += 1;
    },
  });
  await opened.open();
  return opened;
}

/** Serves the bytes, and describes them as an image. */
function served(path: string, bytes: Buffer, more: Partial<GuestImage> = {}): GuestImage {
  files.set(path, bytes);
  const { port } = server.address() as AddressInfo;
  return {
    digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
    format: "raw",
    bytes: bytes.length,
    virtualMiB: Math.ceil(bytes.length / MIB),
    urls: [`http://127.51.0.2:${port}${path}`],
    ...more,
  };
}
function raw(fill: number, sizeMiB = 1): Buffer {
  return Buffer.alloc(sizeMiB * MIB, fill);
}
/** A qcow2 file as qemu-img makes it. */
function qcow2(...options: string[]): Buffer {
  const path = join(folder, "made.qcow2");
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", ...options, path, "8M"]);
  return readFileSync(path);
}
const asQcow2 = { format: "qcow2", virtualMiB: 8 } as const;
async function faultOf(image: GuestImage, limitBytes?: number): Promise<string> {
  const held = await (await cache(limitBytes)).hold(image);
  return held.ok ? "no fault" : held.error;
}
const names = (): string[] => readdirSync(join(folder, "images"));

describe("the image cache", () => {
  it("fetches an image once for all who wait, and not again", async () => {
    const image = served("/a", raw(1));
    const images = await cache();
    const held = await Promise.all([images.hold(image), images.hold(image), images.hold(image)]);
    const again = await images.hold(image);
    expect([...held, again].every(({ ok }) => ok)).toBe(true);
    expect(requests).toEqual(["/a"]);
    expect(images.present).toEqual([image.digest]);
    expect(changes).toBe(1);
    if (again.ok) expect(readFileSync(again.value.path)).toEqual(raw(1));
  });

  it("takes a qcow2 image that stands alone", async () => {
    expect(await faultOf(served("/a", qcow2(), asQcow2))).toBe("no fault");
  });

  it("goes to the next source when one fails, and tells of each without its URL (S3)", async () => {
    const image = served("/good", raw(1));
    const [good = ""] = image.urls;
    const bad = good.replace("/good", "/bad?ticket=s3cret");
    expect(await faultOf({ ...image, urls: [bad, good] })).toBe("no fault");
    rmSync(join(folder, "images"), { recursive: true });
    files.clear();
    const fault = await faultOf({ ...image, urls: [bad, good] });
    expect(fault).toBe(
      "source 1: the source of the image answered 404; source 2: the source of the image answered 404",
    );
  });

  it("a source that falls silent is given up", async () => {
    const image = served("/a", raw(1));
    respond = (_path, response) => void response.write(raw(1).subarray(0, 100));
    const held = await (await cache(64 * MIB, 100)).hold(image);
    expect(held).toEqual({ ok: false, error: "the source of the image sent nothing for 100 ms" });
  });

  it("a source that nobody serves is named by its fault", async () => {
    expect(await faultOf({ ...served("/a", raw(1)), urls: ["http://127.51.0.3:42999/a"] })).toMatch(/ECONNREFUSED/);
  });

  it("a download goes on for those who still wait, ends with the last of them, and begins anew for the next", async () => {
    const image = served("/a", raw(1));
    const images = await cache();
    const halves: ServerResponse[] = [];
    respond = (_path, response) => {
      halves.push(response);
      response.write(raw(1).subarray(0, 100));
    };
    const [first, second] = [new AbortController(), new AbortController()];
    const both = [images.hold(image, first.signal), images.hold(image, second.signal)];
    await until("the source to be asked", () => halves.length === 1);
    first.abort();
    expect(await both[0]).toMatchObject({ ok: false, error: "the image is not waited for any longer" });
    expect(halves[0]?.destroyed).toBe(false);
    second.abort();
    respond = (path, response) => void response.end(files.get(path));
    expect(await both[1]).toMatchObject({ ok: false });
    expect(await images.hold(image)).toMatchObject({ ok: true });
    expect(halves[0]?.destroyed).toBe(true);
    expect(names()).toEqual([expect.stringMatching(/\.raw$/)]);
  });

  it("what a crash left half fetched is thrown away at the next start", async () => {
    await cache();
    writeFileSync(join(folder, "images", `sha256-${"a".repeat(64)}.raw.part`), "half");
    await cache();
    expect(names()).toEqual([]);
  });
});

describe("images that are refused", () => {
  it.each([
    [
      "another content",
      () => ({ ...served("/a", raw(1)), digest: `sha256:${"0".repeat(64)}` }),
      /does not match its digest/,
    ],
    ["a truncated one", () => ({ ...served("/a", raw(1)), bytes: 2 * MIB }), /cut off after 1048576 of 2097152 bytes/],
    ["a bigger one", () => ({ ...served("/a", raw(1)), bytes: 1_000 }), /bigger than the 1000 bytes/],
    ["a qcow2 said to be raw", () => served("/a", qcow2(), { virtualMiB: 1 }), /said to be raw and begins like qcow2/],
    ["a raw one said to be qcow2", () => served("/a", raw(1), asQcow2), /said to be qcow2 and does not begin like one/],
    [
      "another size than declared",
      () => served("/a", qcow2(), { ...asQcow2, virtualMiB: 9 }),
      /8 MiB and 9 MiB were declared/,
    ],
    [
      "one raw disk smaller than declared",
      () => served("/a", raw(1), { virtualMiB: 2 }),
      /1 MiB and 2 MiB were declared/,
    ],
    [
      "a backing file on the host",
      () => served("/a", qcow2("-u", "-b", "/etc/passwd", "-F", "raw"), asQcow2),
      /names a backing file/,
    ],
    [
      "an external data file",
      () => served("/a", qcow2("-o", `data_file=${join(folder, "outside.raw")}`), asQcow2),
      /names an external data file/,
    ],
    ["a broken one", () => served("/a", broken(), asQcow2), /cannot be read as qcow2/],
  ])("%s: the reason is told, and nothing stays", async (_what, image, reason) => {
    expect(await faultOf(image())).toMatch(reason);
    expect(names()).toEqual([]);
  });

  it("B5: one that somebody else says where to fetch, from anywhere but there: a redirect is not followed", async () => {
    const image = served("/elsewhere", raw(1));
    respond = (path, response) => {
      if (path === "/elsewhere") response.end(files.get(path));
      else response.writeHead(302, { location: "/elsewhere" }).end();
    };
    const urls = image.urls.map((url) => url.replace("/elsewhere", "/there"));
    expect(await faultOf({ ...image, urls, direct: true })).toBe(
      "the source of the image sends elsewhere, and this one is fetched from nowhere else",
    );
    expect(requests).toEqual(["/there"]);
    expect(names()).toEqual([]);
    expect(await (await cache()).hold({ ...image, urls })).toMatchObject({ ok: true });
  });

  /** The header is whole, and leads nowhere. */
  function broken(): Buffer {
    const bytes = qcow2();
    bytes.writeBigUInt64BE(0x7fff_ffff_ffff_fe00n, 40);
    return bytes;
  }

  it("whatever the first bytes are, a check ends in a sentence and never throws", { timeout: 60_000 }, async () => {
    const whole = qcow2();
    const property = fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(255), fc.nat(255)), { maxLength: 6 }),
      async (changes) => {
        const bytes = Buffer.from(whole);
        for (const [at, byte] of changes) bytes[at] = byte;
        const fault = await faultOf(served("/a", bytes, asQcow2));
        expect(fault).not.toBe("");
        rmSync(join(folder, "images"), { recursive: true, force: true });
      },
    );
    await fc.assert(property, { numRuns: 15 });
  });
});

describe("room in the cache", () => {
  it("the image used longest ago goes first", async () => {
    const images = await cache(3 * MIB);
    const all = [1, 2, 3, 4].map((fill) => served(`/${fill}`, raw(fill)));
    const [a, b, c, d] = all;
    for (const image of [a, b, c]) await hold(images, image);
    touch(a, 30);
    touch(b, 10);
    touch(c, 20);
    await hold(images, d);
    expect(images.present).not.toContain(b?.digest);
    expect(images.present).toHaveLength(3);
  });

  it("never a base under a disk, also after a new start, and the refusal says what is missing", async () => {
    const images = await cache(2 * MIB);
    const a = served("/1", raw(1));
    const b = served("/2", raw(2));
    await lay(images, a, 1);
    await lay(images, b, 2);
    const next = await cache(2 * MIB);
    expect(next.present).toHaveLength(2);
    const third = await next.hold(served("/3", raw(3)));
    expect(third).toMatchObject({ ok: false });
    if (!third.ok) expect(third.error).toMatch(/no space in the image cache of this host/);
    await folders.remove(vmId(1));
    expect(await next.hold(served("/3", raw(3)))).toMatchObject({ ok: true });
    expect(next.present).toContain(b.digest);
    expect(next.present).not.toContain(a.digest);
  });

  it("never an image that somebody is about to use", async () => {
    const images = await cache(MIB);
    const first = await images.hold(served("/1", raw(1)));
    expect(await images.hold(served("/2", raw(2)))).toMatchObject({ ok: false });
    if (first.ok) first.value.release();
    expect(await images.hold(served("/2", raw(2)))).toMatchObject({ ok: true });
  });

  it("two downloads do not count on the same room", async () => {
    const images = await cache(1.5 * MIB);
    const both = await Promise.all([images.hold(served("/1", raw(1))), images.hold(served("/2", raw(2)))]);
    expect(both.filter(({ ok }) => ok)).toHaveLength(1);
  });

  it("eviction takes nothing in use, no more than it must, and says no only where that is not enough", () => {
    const image = fc.record({ bytes: fc.nat(100), usedAtMs: fc.nat(50), isUsed: fc.boolean() });
    fc.assert(
      fc.property(fc.array(image, { maxLength: 8 }), fc.nat(200), fc.nat(300), (drawn, wanted, limit) => {
        const images = drawn.map((one, index) => ({ ...one, name: String(index) }));
        const inUse = new Set(images.filter(({ isUsed }) => isUsed).map(({ name }) => name));
        const used = images.filter(({ isUsed }) => isUsed).reduce((sum, { bytes }) => sum + bytes, 0);
        const outcome = evict(images, inUse, wanted, limit);
        if (outcome.kind === "no-room") {
          expect(used + wanted).toBeGreaterThan(limit);
          return;
        }
        const left = images.filter(({ name }) => !outcome.names.includes(name));
        expect(outcome.names.some((name) => inUse.has(name))).toBe(false);
        expect(left.reduce((sum, { bytes }) => sum + bytes, 0) + wanted).toBeLessThanOrEqual(limit);
        const last = images.find(({ name }) => name === outcome.names.at(-1));
        const spared = [...left, ...(last === undefined ? [] : [last])].reduce((sum, { bytes }) => sum + bytes, 0);
        if (last !== undefined) expect(spared + wanted).toBeGreaterThan(limit);
      }),
    );
  });

  async function hold(images: ImageCache, image: GuestImage | undefined): Promise<void> {
    if (image === undefined) return;
    const held = await images.hold(image);
    if (!held.ok) throw new Error(held.error);
    held.value.release();
  }
  function touch(image: GuestImage | undefined, seconds: number): void {
    const path = join(folder, "images", `${image?.digest.replace(":", "-")}.raw`);
    expect(existsSync(path)).toBe(true);
    utimesSync(path, seconds, seconds);
  }
  /** Puts a VM's disk over the image. */
  async function lay(images: ImageCache, image: GuestImage, number: number): Promise<void> {
    const held = await images.hold(image);
    if (!held.ok) throw new Error(held.error);
    const { disk, folder: own } = folders.paths(vmId(number));
    mkdirSync(own);
    expect(await makeDisk(disk, held.value.path, image.format, 1)).toMatchObject({ ok: true });
    held.value.release();
  }
});
