import { backoffMs, type CancelTimer, type Clock, type Rng } from "@muster/base";
import { EtcdClient, type EtcdClientOptions, type EtcdWatch } from "./etcd/etcd-client.ts";
import type { WatchEnd } from "./etcd/watch-reader.ts";
import { type CopiedRecord, EtcdCopy, type StoredLead } from "./etcd-copy.ts";
import { type EtcdLayout, layoutOf } from "./etcd-layout.ts";
import { readPages } from "./etcd-pages.ts";

export type EtcdFollowerOptions = Pick<EtcdClientOptions, "endpoints" | "tls" | "auth" | "requestMs"> & {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly site: string;
  readonly prefix?: string | undefined;
  /** Most bytes of keys and texts that are kept; above it nothing is, and whoever takes over reads (S2). */
  readonly bytesMax?: number;
  /** Between two questions whether the watch still hears everything. */
  readonly probeMs?: number;
  /** Called when term, leader or its being alive changed. */
  readonly onLead?: (lead: StoredLead | undefined) => void;
  readonly onTrouble?: (message: string) => void;
};

export type EtcdFollowerStatus =
  | { readonly kind: "listing" }
  | { readonly kind: "following"; readonly revision: number; readonly records: number }
  | { readonly kind: "too-large"; readonly bytes: number }
  | { readonly kind: "closed" };

/** A standby's copy of the store. */
export type EtcdFollower = {
  readonly status: EtcdFollowerStatus;
  /** As far as the copy knows. */
  readonly lead: StoredLead | undefined;
  /** The records below a prefix, once the copy holds everything up to `revision`; `undefined` when it does not in time. */
  recordsAt(revision: number, withinMs: number, prefix: string): Promise<readonly CopiedRecord[] | undefined>;
  close(): Promise<void>;
};

const BYTES_MAX = 256 * 1024 * 1024;
const PROBE_MS = 2_000;
const RETRY = { baseMs: 50, maxMs: 2_000 };

/** Keeps a copy of the site's records by a watch, so that a standby that takes over needs not read them all. */
export function followEtcdStore(options: EtcdFollowerOptions): EtcdFollower {
  const follower = new Follower(options);
  follower.start();
  return follower;
}

class Follower implements EtcdFollower {
  readonly #options: EtcdFollowerOptions;
  readonly #client: EtcdClient;
  readonly #layout: EtcdLayout;
  #copy: EtcdCopy | undefined;
  #state: "open" | "too-large" | "closed" = "open";
  #tooLargeBytes = 0;
  #watch: EtcdWatch | undefined;
  #said = "";
  #waiting = new Set<() => void>();
  #ended: Promise<unknown> = Promise.resolve();

  constructor(options: EtcdFollowerOptions) {
    const { clock, endpoints, tls, auth, requestMs } = options;
    this.#options = options;
    this.#client = new EtcdClient({ clock, endpoints, tls, auth, requestMs });
    this.#layout = layoutOf(options.prefix ?? `muster/${options.site}/`);
  }

  get status(): EtcdFollowerStatus {
    if (this.#state === "closed") return { kind: "closed" };
    if (this.#state === "too-large") return { kind: "too-large", bytes: this.#tooLargeBytes };
    const copy = this.#copy;
    if (copy === undefined) return { kind: "listing" };
    return { kind: "following", revision: copy.revision, records: copy.size };
  }

  get lead(): StoredLead | undefined {
    return this.#copy?.lead;
  }

  start(): void {
    this.#ended = Promise.all([this.#follow(), this.#probe()]);
  }

  async recordsAt(revision: number, withinMs: number, prefix: string): Promise<readonly CopiedRecord[] | undefined> {
    const holds = (): EtcdCopy | undefined =>
      this.#copy !== undefined && this.#copy.revision >= revision ? this.#copy : undefined;
    if (holds() === undefined && this.#state === "open") await this.#until(() => holds() !== undefined, withinMs);
    return holds()?.records(prefix);
  }

  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#stop("closed");
    await this.#ended;
  }

  async #follow(): Promise<void> {
    for (let attempt = 0; this.#state === "open"; attempt += 1) {
      if (attempt > 0) await this.#client.pause(backoffMs({ attempt: attempt - 1, ...RETRY }, this.#options.rng));
      if (this.#copy === undefined && !(await this.#list())) continue;
      if (this.#state !== "open" || this.#copy === undefined) continue;
      const heard = this.#copy.revision;
      const end = await this.#hear(this.#copy);
      if (this.#state !== "open") return;
      if (end.kind === "compacted") this.#copy = undefined;
      else this.#options.onTrouble?.(`the watch on the store ended: ${end.message}`);
      if (end.kind === "compacted" || (this.#copy?.revision ?? 0) > heard) attempt = 0;
    }
  }

  async #list(): Promise<boolean> {
    let copy = new EtcdCopy(this.#layout);
    const { bytesMax = BYTES_MAX } = this.#options;
    const listed = await readPages(
      this.#client,
      this.#layout.prefix,
      () => {
        copy = new EtcdCopy(this.#layout);
      },
      (page) => {
        copy.fill(page);
        return copy.bytes > bytesMax ? "enough" : "more";
      },
    );
    if (!listed.ok) {
      if (this.#state === "open") this.#options.onTrouble?.(`the store cannot be listed: ${listed.error.message}`);
      return false;
    }
    if (!this.#isWithin(copy)) return false;
    copy.end(listed.value.revision);
    this.#copy = copy;
    this.#tell();
    return true;
  }

  /**
   * One watch from the copy's revision on, until it ends. That revision itself is asked for once more, though it is
   * known: older versions of etcd take a watch that begins right at the compacted revision, and are silent about what
   * that revision deleted.
   */
  #hear(copy: EtcdCopy): Promise<WatchEnd> {
    return new Promise((resolve) => {
      void this.#client
        .watch({
          prefix: this.#layout.prefix,
          fromRevision: copy.revision,
          onCreated: () => {},
          onEvents: (events) => {
            copy.apply(events);
            if (this.#isWithin(copy)) this.#tell();
          },
          onEnd: (end) => {
            this.#watch = undefined;
            resolve(end);
          },
        })
        .then((watch) => {
          this.#watch = watch;
          if (this.#state !== "open") watch.close();
        });
    });
  }

  /**
   * A member that is cut off, or hangs, leaves its watches open and silent. So the copy is held against a linearizable
   * read now and then: what the read saw, the watch must have told by the next one.
   */
  async #probe(): Promise<void> {
    const { probeMs = PROBE_MS } = this.#options;
    let due = 0;
    while (this.#state === "open") {
      await this.#client.pause(probeMs);
      if (this.#state !== "open") return;
      if (this.#copy !== undefined && this.#copy.revision < due) this.#watch?.close();
      const meta = `${this.#layout.prefix}meta/`;
      const read = await this.#client.range({ from: meta, prefix: meta, limit: 10 });
      if (read.ok) due = Math.max(0, ...read.value.kvs.map(({ modRevision }) => modRevision));
    }
  }

  #isWithin(copy: EtcdCopy): boolean {
    const { bytesMax = BYTES_MAX } = this.#options;
    if (copy.bytes <= bytesMax) return true;
    this.#tooLargeBytes = copy.bytes;
    this.#options.onTrouble?.(`the store holds more than ${bytesMax} bytes: no copy is kept, taking over takes longer`);
    this.#stop("too-large");
    return false;
  }

  #tell(): void {
    for (const check of [...this.#waiting]) check();
    const { lead } = this;
    const said = JSON.stringify(lead ?? null);
    if (said === this.#said) return;
    this.#said = said;
    this.#options.onLead?.(lead);
  }

  #until(isTrue: () => boolean, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (isTrue() || this.#state !== "open") end();
      };
      const end = (): void => {
        cancel();
        this.#waiting.delete(check);
        resolve();
      };
      const cancel: CancelTimer = this.#options.clock.setTimer(withinMs, end);
      this.#waiting.add(check);
    });
  }

  #stop(state: "too-large" | "closed"): void {
    this.#state = state;
    this.#copy = undefined;
    this.#watch?.close();
    this.#client.close();
    for (const check of [...this.#waiting]) check();
  }
}
