import { err, ok, type Result } from "@muster/base";
import type { RecordChange } from "../core/records.ts";
import { readValue } from "./record-value.ts";
import type { CommitOutcome, Store } from "./store.ts";
import { newerSchema, STORE_SCHEMA, type StoreFault } from "./store-fault.ts";

/** How the next commits end: `failed` writes nothing, `unknown` writes or not, and does not say which. */
export type MemoryDiskFault =
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "unknown"; readonly written: boolean; readonly message: string };

/** What outlives a manager in a test or a simulation: several stores may be opened over one disk, one after the other. */
export class MemoryDisk {
  /** Values as text, so that no two managers ever share an object. */
  readonly records = new Map<string, string>();
  schema = STORE_SCHEMA;
  term = 0;
  commits = 0;
  /** Called once a commit; an answer makes the commit end so. */
  faultOf: ((changes: readonly RecordChange[]) => MemoryDiskFault | undefined) | undefined;
}

/**
 * Port Store in memory, for tests and the simulator. Unlike LevelDB it lets a second opener in at any moment, which
 * deposes the first: the harder case.
 */
export async function openMemoryStore(options: { readonly disk: MemoryDisk }): Promise<Result<Store, StoreFault>> {
  const { disk } = options;
  if (disk.schema > STORE_SCHEMA) return err(newerSchema("the memory disk", disk.schema));
  disk.term += 1;
  return ok(new MemoryStore(disk, disk.term));
}

class MemoryStore implements Store {
  readonly term: number;
  readonly #disk: MemoryDisk;
  #closed = false;

  constructor(disk: MemoryDisk, term: number) {
    this.#disk = disk;
    this.term = term;
  }

  async *scan(prefix: string): AsyncIterable<readonly [string, unknown]> {
    const keys = [...this.#disk.records.keys()].filter((key) => key.startsWith(prefix)).sort();
    for (const key of keys) {
      const text = this.#disk.records.get(key);
      if (text === undefined) continue;
      yield [key, readValue(key, text)] as const;
    }
  }

  async *snapshot(): AsyncIterable<readonly [string, string]> {
    yield* [...this.#disk.records].sort(([left], [right]) => (left < right ? -1 : 1));
  }

  async commit(changes: readonly RecordChange[]): Promise<CommitOutcome> {
    if (this.#closed) return { kind: "failed", message: "the store is closed" };
    if (this.#disk.term !== this.term) return { kind: "deposed", term: this.#disk.term };
    const fault = this.#disk.faultOf?.(changes);
    if (fault?.kind === "failed") return fault;
    if (fault === undefined || fault.written) this.#write(changes);
    return fault === undefined ? { kind: "committed" } : { kind: "unknown", message: fault.message };
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #write(changes: readonly RecordChange[]): void {
    this.#disk.commits += 1;
    for (const change of changes) {
      if (change.kind === "put") this.#disk.records.set(change.key, JSON.stringify(change.value));
      else this.#disk.records.delete(change.key);
    }
  }
}
