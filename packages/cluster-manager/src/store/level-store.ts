import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { Level } from "level";
import type { RecordChange } from "../core/records.ts";
import { DiskReserve } from "./disk-reserve.ts";
import { LevelWitness, missingParts, wentBack } from "./level-witness.ts";
import { readValue } from "./record-value.ts";
import type { CommitOutcome, Store } from "./store.ts";
import { newerSchema, STORE_SCHEMA, type StoreFault } from "./store-fault.ts";

export type LevelStoreOptions = {
  /** Folder of the store; made when missing. */
  readonly path: string;
  /** Name of the manager that opens it, stored beside the term for people. */
  readonly manager: string;
  /** Space kept back for the day the disk is full: at least twice LevelDB's write buffer of 4 MiB. */
  readonly reserveBytes?: number;
  /** An admin's word that a store that went back is to be used: no term up to this one is given again. */
  readonly termFloor?: number;
};

type Database = Level<string, string>;
type Meta = { readonly schema: number; readonly term: number; readonly manager: string };

/** Records and what is said about them lie apart, under prefixes that another adapter can keep. */
const RECORD = "record/";
const META_KEY = "meta/site";
/** Number of the last commit, written by each commit itself: tells whether one of unknown outcome was written. */
const COMMIT_KEY = "meta/commit";
/** Above every key that begins with the prefix: keys are plain text. */
const AFTER_ALL = "\uffff";

/**
 * Port Store on LevelDB, embedded. Its lock admits one process, so a standby waits for it; opening raises the term in
 * one synchronous batch (L1). Every commit is one synchronous batch: after `kill -9` or a power cut, all or nothing.
 */
export async function openLevelStore(options: LevelStoreOptions): Promise<Result<Store, StoreFault>> {
  const { path } = options;
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    return err({ kind: "unusable", message: `${path} cannot be made: ${textOf(cause)}; check owner and mode` });
  }
  const missing = await missingParts(path);
  if (missing !== undefined) return err(missing);
  const reserve = new DiskReserve(join(path, "reserve"), options.reserveBytes ?? 8 * 1024 * 1024);
  const opened = await openDatabase(join(path, "db"));
  if (!opened.ok) return opened;
  const database = opened.value;
  const witness = new LevelWitness(path);
  const fault = await (async (): Promise<StoreFault | Meta> => {
    try {
      return await raiseTerm(database, options, witness);
    } catch (cause) {
      if (codeOf(cause) === "LEVEL_CORRUPTION") return damaged(path, cause);
      return { kind: "unusable", message: `${path} cannot be written: ${textOf(cause)}; free space or check the disk` };
    }
  })();
  if ("kind" in fault) {
    await database.close();
    return err(fault);
  }
  return ok(new LevelStore(database, fault.term, { reserve, witness }, await lastCommit(database)));
}

function damaged(path: string, cause: unknown): StoreFault {
  const remedy =
    "restore a backup with: muster restore FILE --config FILE, or save what is left with: muster restore --salvage";
  return { kind: "damaged", message: `${path} is damaged: ${textOf(cause)}; ${remedy}` };
}

async function openDatabase(path: string): Promise<Result<Database, StoreFault>> {
  const database: Database = new Level(path, { keyEncoding: "utf8", valueEncoding: "utf8" });
  try {
    await database.open();
    return ok(database);
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
    const code = codeOf(inner);
    if (code === "LEVEL_LOCKED")
      return err({ kind: "locked", message: `${path} is held by another manager, which leads; wait or stop it` });
    // A file that its MANIFEST names and that is not there is said as an I/O error (LevelDB, db/db_impl.cc, Recover).
    if (code === "LEVEL_CORRUPTION" || /corruption|missing files|no such file/i.test(textOf(inner)))
      return err(damaged(path, inner));
    return err({
      kind: "unusable",
      message: `${path} cannot be opened: ${textOf(inner)}; check space, owner and mode`,
    });
  }
}

/** The next term, stored before anybody hears of it (L1). */
async function raiseTerm(
  database: Database,
  { path, manager, termFloor = 0 }: LevelStoreOptions,
  witness: LevelWitness,
): Promise<Meta | StoreFault> {
  const stored = await database.get(META_KEY);
  const before = stored === undefined ? { schema: STORE_SCHEMA, term: 0 } : readMeta(stored);
  if (before === undefined)
    return { kind: "damaged", message: `${path}: ${META_KEY} cannot be read; restore the store from a backup` };
  if (before.schema > STORE_SCHEMA) return newerSchema(path, before.schema);
  const commits = await lastCommit(database);
  const older = wentBack(path, { term: before.term, commits }, witness.read(), termFloor);
  if (older !== undefined) return older;
  const meta: Meta = { schema: STORE_SCHEMA, term: Math.max(before.term, termFloor) + 1, manager };
  await database.put(META_KEY, JSON.stringify(meta), { sync: true });
  witness.note({ term: meta.term, commits });
  return meta;
}

function readMeta(text: string): { readonly schema: number; readonly term: number } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("schema" in value) || !("term" in value)) return undefined;
    const { schema, term } = value;
    return Number.isSafeInteger(schema) && Number.isSafeInteger(term)
      ? { schema: Number(schema), term: Number(term) }
      : undefined;
  } catch {
    return undefined;
  }
}

async function lastCommit(database: Database): Promise<number> {
  return Number((await database.get(COMMIT_KEY)) ?? "0");
}

class LevelStore implements Store {
  readonly term: number;
  readonly #path: string;
  readonly #reserve: DiskReserve;
  readonly #witness: LevelWitness;
  #database: Database;
  #commits: number;
  /** `sick` after a write failed: LevelDB must not be written to again before it was opened anew. */
  #state: "open" | "sick" | "closed" = "open";
  #reserved = false;
  /** Commits, reopening and closing run one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    database: Database,
    term: number,
    { reserve, witness }: { readonly reserve: DiskReserve; readonly witness: LevelWitness },
    commits: number,
  ) {
    this.#database = database;
    this.#path = database.location;
    this.term = term;
    this.#reserve = reserve;
    this.#witness = witness;
    this.#commits = commits;
  }

  async *scan(prefix: string): AsyncIterable<readonly [string, unknown]> {
    for await (const [name, text] of this.#texts(prefix)) yield [name, readValue(name, text)] as const;
  }

  snapshot(): AsyncIterable<readonly [string, string]> {
    return this.#texts("");
  }

  /** An iterator of LevelDB sees everything as it was when it was made, whatever is written meanwhile. */
  async *#texts(prefix: string): AsyncIterable<readonly [string, string]> {
    const iterator = await this.#inTurn(async () => {
      if (this.#state === "sick") {
        const outcome = await this.#reopen();
        if (outcome.kind !== "committed") throw new Error(`the store cannot be read: ${describe(outcome)}`);
      }
      return this.#database.iterator({ gte: RECORD + prefix, lt: RECORD + prefix + AFTER_ALL });
    });
    try {
      for await (const [key, text] of iterator) yield [key.slice(RECORD.length), text] as const;
    } catch (cause) {
      throw new Error(damaged(this.#path, cause).message, { cause });
    }
  }

  commit(changes: readonly RecordChange[]): Promise<CommitOutcome> {
    return this.#inTurn(() => this.#commit(changes));
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#state === "closed") return;
      this.#state = "closed";
      await this.#database.close();
      await this.#witness.settle();
    });
  }

  async #commit(changes: readonly RecordChange[]): Promise<CommitOutcome> {
    if (this.#state === "closed") return { kind: "failed", message: "the store is closed" };
    if (this.#state === "sick") {
      const outcome = await this.#reopen();
      if (outcome.kind !== "committed") return outcome.kind === "deposed" ? outcome : failed(describe(outcome));
    }
    if (!this.#reserved) {
      const lack = await this.#reserve.fill();
      if (lack !== undefined) return failed(`nothing is written while the disk has no space to spare: ${lack}`);
      this.#reserved = true;
    }
    try {
      await this.#write(changes);
      this.#commits += 1;
      this.#witness.note({ term: this.term, commits: this.#commits });
      return { kind: "committed" };
    } catch (cause) {
      return this.#settle(textOf(cause));
    }
  }

  async #write(changes: readonly RecordChange[]): Promise<void> {
    const operations = changes.map((change) =>
      change.kind === "put"
        ? { type: "put" as const, key: RECORD + change.key, value: JSON.stringify(change.value) }
        : { type: "del" as const, key: RECORD + change.key },
    );
    const counter = { type: "put" as const, key: COMMIT_KEY, value: String(this.#commits + 1) };
    await this.#database.batch([...operations, counter], { sync: true });
  }

  /** A write failed: whether it was written all the same is read back from the disk, never guessed. */
  async #settle(message: string): Promise<CommitOutcome> {
    this.#state = "sick";
    await this.#reserve.release();
    this.#reserved = false;
    const before = this.#commits;
    const outcome = await this.#reopen();
    if (outcome.kind === "deposed") return outcome;
    if (outcome.kind !== "committed") return { kind: "unknown", message: `${message}; then: ${describe(outcome)}` };
    return this.#commits > before ? { kind: "committed" } : failed(message);
  }

  /** Opens LevelDB anew. Its lock was free for a moment: the stored term tells whether somebody else took it (L2). */
  async #reopen(): Promise<CommitOutcome> {
    try {
      await this.#database.close();
    } catch (cause) {
      return failed(textOf(cause));
    }
    const opened = await openDatabase(this.#path);
    if (!opened.ok)
      return opened.error.kind === "locked" ? { kind: "deposed", term: this.term + 1 } : failed(opened.error.message);
    this.#database = opened.value;
    try {
      const meta = readMeta((await this.#database.get(META_KEY)) ?? "");
      if (meta === undefined || meta.term !== this.term) {
        this.#state = "closed";
        await this.#database.close();
        return { kind: "deposed", term: meta?.term ?? this.term + 1 };
      }
      this.#commits = await lastCommit(this.#database);
    } catch (cause) {
      return failed(textOf(cause));
    }
    this.#state = "open";
    return { kind: "committed" };
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

function failed(message: string): CommitOutcome {
  return { kind: "failed", message };
}

function describe(outcome: CommitOutcome): string {
  return "message" in outcome ? outcome.message : outcome.kind;
}

function codeOf(cause: unknown): unknown {
  return typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
