/**
 * The content of the site's images: one file each in a folder of the manager, named by its digest. What is there is
 * verified and looked into before the catalogue hears of it; what the catalogue wants and is not there is fetched.
 */
import { createReadStream } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { backoffMs, type Clock, err, ok, type Result, type Rng } from "@muster/base";
import { type ImageFault, inspectImage, takeImage } from "@muster/disk-image";
import { type ImageView, type Refusal, refusal } from "@muster/protocol";
import type { Logger } from "pino";
import type { LeaderLoop } from "../leadership/leader-loop.ts";
import { downloadImage } from "./image-download.ts";
import { type ImageContent, type ImageRecord, isToFetch } from "./image-record.ts";

export type ImageKeeperOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly folder: string;
  /** Most bytes of all images together (S2). */
  readonly bytesMax: number;
  readonly loop: Pick<LeaderLoop, "ask" | "read">;
};

/** Downloads at once; tries of one before it is put down as failed. */
const DOWNLOADS_MAX = 2;
const TRIES_MAX = 6;
const PAUSE = { baseMs: 1_000, maxMs: 60_000 };
/** How long the core has to take a result in. */
const STORED_WITHIN_MS = 10_000;
/** What another try may mend; everything else is wrong every time. */
const PASSING: ReadonlySet<ImageFault["reason"]> = new Set(["interrupted", "no-space", "not-inspected"]);

type Progress = NonNullable<ImageView["progress"]>;

export class ImageKeeper {
  readonly #options: ImageKeeperOptions;
  readonly #progress = new Map<string, Progress>();
  readonly #waiting = new Set<string>();
  readonly #running = new Map<string, AbortController>();
  readonly #jobs = new Set<Promise<void>>();
  #stopped = false;

  constructor(options: ImageKeeperOptions) {
    this.#options = options;
  }

  /** Makes the folder and removes what an earlier leader left half done. */
  async start(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder)) if (name.endsWith(".part")) await rm(join(folder, name), { force: true });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting.clear();
    for (const abort of this.#running.values()) abort.abort();
    await Promise.all(this.#jobs);
  }

  /** How far an image has come in, while it does. */
  progressOf(digest: string): Progress | undefined {
    return this.#progress.get(digest);
  }

  /** Fetches the image in the background; asked again meanwhile, nothing more happens. */
  fetch(digest: string): void {
    if (this.#stopped || this.#running.has(digest)) return;
    this.#waiting.add(digest);
    this.#next();
  }

  drop(digest: string): void {
    this.#waiting.delete(digest);
    this.#running.get(digest)?.abort();
    this.#follow(rm(this.#pathOf(digest), { force: true }));
  }

  /** Takes an image in that somebody sends. Answers when the catalogue has it. */
  async take(
    record: ImageRecord,
    content: AsyncIterable<Uint8Array>,
    bytes: number | undefined,
  ): Promise<Result<void, Refusal>> {
    const { digest } = record;
    if (this.#running.has(digest))
      return err(refusal("conflict", "upload-under-way", "this image comes in already: wait for it"));
    const room = await this.#room();
    if (bytes !== undefined && bytes > room) return err(tooLarge(bytes, room));
    const abort = new AbortController();
    this.#running.set(digest, abort);
    try {
      const came = await takeImage(content, {
        path: this.#pathOf(digest),
        digest,
        bytesMax: room,
        signal: abort.signal,
        onProgress: (at) =>
          this.#progress.set(digest, { bytes: at, ...(bytes === undefined ? {} : { totalBytes: bytes }) }),
      });
      const found = came.ok ? await this.#lookInto(record) : came;
      if (!found.ok) return err(refusalOf(found.error));
      return await this.#tell(digest, found.value);
    } finally {
      this.#end(digest);
    }
  }

  /** The content of an image, for a host. */
  async open(record: ImageRecord): Promise<Result<{ readonly stream: Readable; readonly bytes: number }, Refusal>> {
    const path = this.#pathOf(record.digest);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && record.content.kind === "present")
      return ok({ stream: createReadStream(path), bytes: found.size });
    if (record.source.kind === "url" && record.content.kind === "present") this.fetch(record.digest);
    const remedy = record.source.kind === "url" ? "it is fetched again" : "send it again with muster image add";
    return err(refusal("unavailable", "image-not-here", `this manager does not have its content: ${remedy}`));
  }

  #next(): void {
    for (const digest of this.#waiting) {
      if (this.#running.size >= DOWNLOADS_MAX) return;
      this.#waiting.delete(digest);
      const abort = new AbortController();
      this.#running.set(digest, abort);
      this.#follow(this.#download(digest, abort.signal).finally(() => this.#end(digest)));
    }
  }

  async #download(digest: string, signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const record = await this.#options.loop.read((views) => views.imageRecord(digest));
      if (record === undefined || record.source.kind !== "url") return;
      if (!isToFetch(record) && record.content.kind !== "present") return;
      const content = await this.#fetchOnce(record, record.source.url, signal);
      if (signal.aborted) return;
      const last = attempt + 1 >= TRIES_MAX || (!content.ok && !PASSING.has(content.error.reason));
      if (content.ok || last) {
        if (!content.ok) log.warn({ digest, ...content.error }, "an image could not be fetched");
        const told = await this.#tell(digest, content.ok ? content.value : { kind: "failed", ...content.error });
        if (!told.ok) log.warn({ digest, refusal: told.error }, "what became of an image was not stored");
        return;
      }
      log.info({ digest, ...content.error }, "an image is fetched again");
      await this.#pause(backoffMs({ attempt, ...PAUSE }, this.#options.rng), signal);
    }
  }

  async #fetchOnce(record: ImageRecord, url: string, signal: AbortSignal): Promise<Result<ImageContent, ImageFault>> {
    const { digest } = record;
    const path = this.#pathOf(digest);
    const came = await downloadImage({
      url,
      path,
      digest,
      bytesMax: await this.#room(),
      signal,
      onProgress: (bytes, totalBytes) =>
        this.#progress.set(digest, { bytes, ...(totalBytes === undefined ? {} : { totalBytes }) }),
    });
    return came.ok ? this.#lookInto(record) : came;
  }

  /** What is in the file that has come; one that no guest may have is removed at once. */
  async #lookInto({ digest, format }: ImageRecord): Promise<Result<ImageContent, ImageFault>> {
    const path = this.#pathOf(digest);
    const image = await inspectImage(path, format);
    if (image.ok) return ok({ kind: "present", bytes: image.value.bytes, virtualMiB: image.value.virtualMiB });
    await rm(path, { force: true });
    return image;
  }

  async #tell(digest: string, content: ImageContent): Promise<Result<void, Refusal>> {
    const answer = await this.#options.loop.ask(
      (ticket) => ({ kind: "image-content", ticket, digest, content }),
      STORED_WITHIN_MS,
      (given) => given,
    );
    if (answer.kind !== "refused") return ok(undefined);
    // Removed meanwhile: nobody is to find it here.
    if (answer.refusal.kind === "item-not-found") await rm(this.#pathOf(digest), { force: true });
    return err(answer.refusal);
  }

  async #room(): Promise<number> {
    const used = await this.#options.loop.read((views) => views.imageBytes());
    return Math.max(0, this.#options.bytesMax - used);
  }

  #end(digest: string): void {
    this.#running.delete(digest);
    this.#progress.delete(digest);
    if (!this.#stopped) this.#next();
  }

  #follow(job: Promise<void>): void {
    const { log } = this.#options;
    const ended = job
      .catch((cause: unknown) => log.warn({ error: String(cause) }, "the care for an image broke off"))
      .finally(() => this.#jobs.delete(ended));
    this.#jobs.add(ended);
  }

  #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#options.clock.setTimer(delayMs, end);
      signal.addEventListener("abort", end);
    });
  }

  #pathOf(digest: string): string {
    return join(this.#options.folder, digest.replace(":", "-"));
  }
}

function tooLarge(bytes: number, room: number): Refusal {
  const message = `it has ${bytes} bytes, and the site has room for ${room}: remove images, or raise imageStore.capacityGiB`;
  return refusal("policy-violation", "image-too-large", message);
}

function refusalOf({ reason, message }: ImageFault): Refusal {
  const kind = PASSING.has(reason) ? "resource-constraint" : "policy-violation";
  return refusal(kind, `image-${reason}`, message);
}
