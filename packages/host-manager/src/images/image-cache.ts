/**
 * Images on this host: each a file named by its digest, under which the disks of VMs lie as overlays. A file that is there
 * is whole, right and checked; what is being fetched is a `.part`, and what a crash left of it is thrown away.
 */
import { mkdir, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Clock, err, ok, type Result } from "@muster/base";
import { syncFolder } from "@muster/disk-image";
import type { GuestImage } from "@muster/protocol";
import { type CachedImage, evict } from "./eviction.ts";
import { checkHeader, checkImage } from "./image-check.ts";
import { type FetchLimits, fetchImage } from "./image-fetch.ts";

export type ImageCacheOptions = {
  readonly folder: string;
  readonly limitBytes: number;
  readonly clock: Clock;
  readonly fetch: FetchLimits;
  /** Files that lie under some disk: read from the disks themselves, so that no record of it can be wrong. */
  readonly basesInUse: () => Promise<ReadonlySet<string>>;
  /** Told when an image came or went. */
  readonly onChange: () => void;
};

/** An image that is on the host and stays until it is let go of. */
export type HeldImage = { readonly path: string; release(): void };

type Fetching = { readonly done: Promise<Result<void, string>>; readonly abort: AbortController };

const FILE = /^sha256-(?<hex>[0-9a-f]{64})\.(?:qcow2|raw)$/;
const GIB = 2 ** 30;

export class ImageCache {
  readonly #options: ImageCacheOptions;
  readonly #fetching = new Map<string, Fetching>();
  /** Bytes promised to what is being fetched. */
  readonly #reserved = new Map<string, number>();
  readonly #held = new Map<string, number>();
  #present: readonly string[] = [];
  #room: Promise<unknown> = Promise.resolve();

  constructor(options: ImageCacheOptions) {
    this.#options = options;
  }

  /** Looks at what is there, and throws away what a crash left half fetched. */
  async open(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    for (const name of await readdir(folder)) if (!FILE.test(name)) await rm(join(folder, name), { force: true });
    await this.#look();
  }

  /** Digests of the images that are here, oldest use first. */
  get present(): readonly string[] {
    return this.#present;
  }

  /**
   * The image as a file, fetched where it is missing; one download serves all who wait, and ends when the last of them gave
   * up by their `signal`. The fault is a sentence.
   */
  async hold(image: GuestImage, signal?: AbortSignal): Promise<Result<HeldImage, string>> {
    const name = nameOf(image);
    const release = this.#hold(name);
    const path = join(this.#options.folder, name);
    try {
      const there = (await isFile(path))
        ? await checkHeader(path, image)
        : await unlessGivenUp(this.#fetchOnce(image, name), signal);
      if (!there.ok) {
        release();
        if (signal?.aborted === true && !this.#held.has(name)) this.#fetching.get(name)?.abort.abort();
        return there;
      }
      const now = this.#options.clock.wallMs() / 1_000;
      await utimes(path, now, now);
      return ok({ path, release });
    } catch (cause) {
      release();
      throw cause;
    }
  }

  #hold(name: string): () => void {
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const left = (this.#held.get(name) ?? 1) - 1;
      if (left === 0) this.#held.delete(name);
      else this.#held.set(name, left);
    };
  }

  async #fetchOnce(image: GuestImage, name: string): Promise<Result<void, string>> {
    let under = this.#fetching.get(name);
    // One that everybody gave up leaves its place before the next one begins.
    while (under?.abort.signal.aborted === true) {
      await under.done.catch(() => undefined);
      under = this.#fetching.get(name);
    }
    if (under !== undefined) return under.done;
    const abort = new AbortController();
    const done = this.#fetch(image, name, abort.signal).finally(() => {
      this.#fetching.delete(name);
      this.#reserved.delete(name);
    });
    this.#fetching.set(name, { done, abort });
    return done;
  }

  async #fetch(image: GuestImage, name: string, signal: AbortSignal): Promise<Result<void, string>> {
    const { folder, clock, fetch } = this.#options;
    const room = await this.#inTurn(() => this.#makeRoom(image, name));
    if (!room.ok) return room;
    const part = join(folder, `${name}.part`);
    try {
      const fetched = await fetchImage(image, part, clock, fetch, signal);
      if (!fetched.ok) return fetched;
      const checked = await checkImage(part, image);
      if (!checked.ok) return checked;
      await rename(part, join(folder, name));
      await syncFolder(folder);
    } finally {
      await rm(part, { force: true });
    }
    await this.#look();
    return ok(undefined);
  }

  /** Two downloads must not count on the same room. */
  #inTurn<Value>(carryOut: () => Promise<Value>): Promise<Value> {
    const turn = this.#room.then(carryOut);
    this.#room = turn.catch(() => undefined);
    return turn;
  }

  async #makeRoom(image: GuestImage, name: string): Promise<Result<void, string>> {
    const { folder, limitBytes, basesInUse } = this.#options;
    const under = Array.from(await basesInUse(), (path) => basename(path));
    const inUse = new Set([...under, ...this.#held.keys()]);
    const reserved = Array.from(this.#reserved.values()).reduce((sum, bytes) => sum + bytes, 0);
    const room = evict(await this.#list(), inUse, image.bytes, limitBytes - reserved);
    if (room.kind === "no-room") {
      return err(
        `no space in the image cache of this host: the image has ${inGib(image.bytes)}, the cache ${inGib(limitBytes)}, ` +
          `and what is not in use leaves ${inGib(room.freeBytes)}`,
      );
    }
    for (const old of room.names) await rm(join(folder, old), { force: true });
    if (room.names.length > 0) await this.#look();
    const disk = await statfs(folder);
    const freeBytes = disk.bavail * disk.bsize - reserved;
    if (freeBytes < image.bytes) {
      return err(
        `the disk under the image cache has ${inGib(Math.max(0, freeBytes))} free and the image has ${inGib(image.bytes)}`,
      );
    }
    this.#reserved.set(name, image.bytes);
    return ok(undefined);
  }

  async #list(): Promise<CachedImage[]> {
    const { folder } = this.#options;
    const images: CachedImage[] = [];
    for (const name of await readdir(folder)) {
      if (!FILE.test(name)) continue;
      const { size, mtimeMs } = await stat(join(folder, name));
      images.push({ name, bytes: size, usedAtMs: mtimeMs });
    }
    return images;
  }

  async #look(): Promise<void> {
    const images = (await this.#list()).sort((a, b) => a.usedAtMs - b.usedAtMs);
    const digests = images.flatMap(({ name }) => FILE.exec(name)?.groups?.hex ?? []).map((hex) => `sha256:${hex}`);
    const before = this.#present.join();
    this.#present = [...new Set(digests)];
    if ([...this.#present].join() !== before) this.#options.onChange();
  }
}

const GIVEN_UP = "the image is not waited for any longer";

/** The end of the download, or of the wish for it. */
async function unlessGivenUp(
  fetching: Promise<Result<void, string>>,
  signal: AbortSignal | undefined,
): Promise<Result<void, string>> {
  if (signal === undefined) return fetching;
  const wish = new AbortController();
  const givenUp = new Promise<Result<void, string>>((resolve) => {
    const giveUp = (): void => resolve(err(GIVEN_UP));
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp, { once: true, signal: wish.signal });
  });
  try {
    return await Promise.race([fetching, givenUp]);
  } finally {
    wish.abort();
  }
}

function nameOf({ digest, format }: GuestImage): string {
  return `${digest.replace(":", "-")}.${format}`;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

function inGib(bytes: number): string {
  return `${(bytes / GIB).toFixed(2)} GiB`;
}
