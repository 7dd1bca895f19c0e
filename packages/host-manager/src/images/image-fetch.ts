/** Brings an image onto the host: the bytes are hashed while they stream in, and only what is whole and right stays. */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { type Clock, err, ok, type Result } from "@muster/base";
import type { GuestImage } from "@muster/protocol";

export type FetchLimits = {
  /** For one source, from the first word to the last byte. */
  readonly fetchMs: number;
  /** Longest silence of a source. */
  readonly stallMs: number;
};

/**
 * Tries the sources in order and writes the file to `path`, in place and synced. The fault tells what was wrong with each,
 * without its URL, which may carry a ticket (S3).
 */
export async function fetchImage(
  image: GuestImage,
  path: string,
  clock: Clock,
  limits: FetchLimits,
): Promise<Result<void, string>> {
  if (image.urls.length === 0) return err("the image is not on this host, and no place is known to fetch it from");
  const faults: string[] = [];
  for (const [index, url] of image.urls.entries()) {
    const fetched = await fetchFrom(url, image, path, clock, limits);
    if (fetched.ok) return fetched;
    faults.push(image.urls.length === 1 ? fetched.error : `source ${index + 1}: ${fetched.error}`);
  }
  return err(faults.join("; "));
}

async function fetchFrom(
  url: string,
  image: GuestImage,
  path: string,
  clock: Clock,
  limits: FetchLimits,
): Promise<Result<void, string>> {
  const watch = new Watch(clock, limits);
  try {
    const response = await fetch(url, { signal: watch.signal, headers: { "accept-encoding": "identity" } });
    if (!response.ok) {
      await response.body?.cancel();
      return err(`the source of the image answered ${response.status}`);
    }
    const length = response.headers.get("content-length");
    if (length !== null && Number(length) > image.bytes) {
      await response.body?.cancel();
      return err(biggerThanTold(image));
    }
    if (response.body === null) return err("the source of the image sent nothing");
    return await take(response.body, image, path, watch);
  } catch (cause) {
    return err(watch.reason ?? `the image could not be fetched: ${reasonOf(cause)}`);
  } finally {
    watch.end();
  }
}

async function take(
  body: AsyncIterable<Uint8Array>,
  image: GuestImage,
  path: string,
  watch: Watch,
): Promise<Result<void, string>> {
  const hash = createHash("sha256");
  const file = await open(path, "w", 0o644);
  // Whatever the umask: those who look into it for us own nothing, and QEMU has a user of its own.
  await file.chmod(0o644);
  try {
    let bytes = 0;
    for await (const chunk of body) {
      watch.heard();
      bytes += chunk.byteLength;
      if (bytes > image.bytes) return err(biggerThanTold(image));
      hash.update(chunk);
      await file.writev([chunk]);
    }
    if (bytes < image.bytes) return err(`the image was cut off after ${bytes} of ${image.bytes} bytes`);
    if (`sha256:${hash.digest("hex")}` !== image.digest) return err("the image's content does not match its digest");
    await file.sync();
    return ok(undefined);
  } finally {
    await file.close();
  }
}

function biggerThanTold(image: GuestImage): string {
  return `the image is bigger than the ${image.bytes} bytes that were declared`;
}

/** Ends a transfer that takes too long as a whole, or says nothing for too long. */
class Watch {
  readonly #abort = new AbortController();
  readonly #clock: Clock;
  readonly #limits: FetchLimits;
  readonly #cancelWhole: () => void;
  #cancelStall: () => void;
  reason: string | undefined;

  constructor(clock: Clock, limits: FetchLimits) {
    this.#clock = clock;
    this.#limits = limits;
    this.#cancelWhole = clock.setTimer(limits.fetchMs, () => this.#end(`took longer than ${limits.fetchMs} ms`));
    this.#cancelStall = this.#stall();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  heard(): void {
    this.#cancelStall();
    this.#cancelStall = this.#stall();
  }

  end(): void {
    this.#cancelWhole();
    this.#cancelStall();
  }

  #stall(): () => void {
    const { stallMs } = this.#limits;
    return this.#clock.setTimer(stallMs, () => this.#end(`sent nothing for ${stallMs} ms`));
  }

  #end(what: string): void {
    this.reason ??= `the source of the image ${what}`;
    this.#abort.abort();
  }
}

/** undici hides what went wrong in the cause; its own words name no address. */
function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = inner instanceof Error && "code" in inner ? inner.code : undefined;
  if (typeof code === "string") return code;
  return inner instanceof Error ? inner.name : "unknown reason";
}
