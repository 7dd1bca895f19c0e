import type { Clock } from "@muster/base";
import type { RecordChange } from "../core/records.ts";
import { snapshotPages } from "./backup-etcd.ts";
import type { EtcdClient } from "./etcd/etcd-client.ts";
import type { EtcdCompare, EtcdOperation, KeyValue } from "./etcd/messages.ts";
import type { CopiedRecord } from "./etcd-copy.ts";
import type { EtcdFollower } from "./etcd-follower.ts";
import { groupsOf, operationsOf, piecesOf } from "./etcd-groups.ts";
import { type Found, type Guarded, sendGuarded } from "./etcd-guarded-txn.ts";
import {
  type CommitMark,
  commitSchema,
  type EtcdLayout,
  metaSchema,
  readStored,
  stageKey,
  type Write,
  writesOf,
} from "./etcd-layout.ts";
import type { EtcdLead } from "./etcd-lead.ts";
import { type ListedRecord, readRecords } from "./etcd-pages.ts";
import { readValue } from "./record-value.ts";
import type { CommitOutcome, Store } from "./store.ts";

/** A commit whose mark stands, with writes that are not in the records yet. */
export type Staged = { readonly mark: CommitMark; readonly groups: readonly (readonly Write[])[] };

export type EtcdStoreParts = {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly layout: EtcdLayout;
  readonly term: number;
  readonly opening: string;
  /** Revision at which this term began. */
  readonly metaRevision: number;
  readonly commitRevision: number;
  /** Left by the leader before. */
  readonly staged: Staged | undefined;
  readonly lead: EtcdLead;
  /** Longest time to find out what became of a commit. */
  readonly commitMs: number;
  readonly warm: EtcdFollower | undefined;
};

/** Decoded by the copy that a watch keeps, or as it was read just now. */
type ReadRecord = CopiedRecord | ListedRecord;

type State =
  | { readonly kind: "open" }
  | { readonly kind: "deposed"; readonly term: number }
  | { readonly kind: "closed" };

const COMMITTED: CommitOutcome = { kind: "committed" };
/** Transactions of one stage under way at once: they touch different records. */
const CARRIED_AT_ONCE = 4;
/** How long the copy kept by the watch may lag when it is asked for; then everything is read. */
const WARM_WITHIN_MS = 250;

/**
 * Port Store on etcd. Each commit is one transaction guarded by the term (L2) and by the number of the commit before,
 * so that it can be sent again until its outcome is known. What does not fit one transaction is laid down in a stage
 * first, then made to count by one transaction that changes the commit's mark, then carried into the records: until
 * that is done nobody reads, and whoever comes next does it before anything else.
 *
 * ```
 *  settled ──commit──► settled
 *     │ └──too large──► stage written ──mark──► staged ──carried──► settled
 *     └──no answer in time──► in doubt ──number taken by a void mark, or found written──► settled | staged
 * ```
 */
export class EtcdStore implements Store {
  readonly term: number;
  readonly #parts: EtcdStoreParts;
  #state: State = { kind: "open" };
  #commitRevision: number;
  /** Last number given out in this term. */
  #number = 0;
  #staged: Staged | undefined;
  /** What may have been written, or may be written yet. */
  #doubt: Staged | undefined;
  #warm: EtcdFollower | undefined;
  /** Commits, scans' beginnings and closing run one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: EtcdStoreParts) {
    this.#parts = parts;
    this.term = parts.term;
    this.#commitRevision = parts.commitRevision;
    this.#staged = parts.staged;
    this.#warm = parts.warm;
  }

  async *scan(prefix: string): AsyncIterable<readonly [string, unknown]> {
    const records = await this.#inTurn(() => this.#read(prefix));
    for (const record of records) {
      const { key } = record;
      yield [key, record.kind === "value" ? record.value : readValue(key, record.text)] as const;
    }
  }

  async *snapshot(): AsyncIterable<readonly [string, string]> {
    await this.#inTurn(() => this.#beSettled());
    yield* snapshotPages(this.#parts);
  }

  commit(changes: readonly RecordChange[]): Promise<CommitOutcome> {
    return this.#inTurn(async () => {
      this.#warm = undefined;
      const outcome = await this.#commit(changes);
      // Whoever waits for this commit need not wait for its records to be in place: nobody reads before they are.
      if (this.#staged !== undefined) void this.#inTurn(() => this.#carry(this.#deadline()));
      return outcome;
    });
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#state.kind === "closed") return;
      this.#state = { kind: "closed" };
      await this.#parts.lead.giveUp();
      this.#parts.client.close();
    });
  }

  async #commit(changes: readonly RecordChange[]): Promise<CommitOutcome> {
    const untilMs = this.#deadline();
    const ready = await this.#settle(untilMs);
    if (ready.kind !== "committed") return ready.kind === "unknown" ? failed(ready.message) : ready;
    const writes = writesOf(changes);
    const groups = groupsOf(writes);
    if (!groups.ok) return failed(groups.error);
    this.#number += 1;
    const mark: CommitMark = { opening: this.#parts.opening, number: this.#number };
    const [only = [], ...others] = groups.value;
    if (others.length === 0) return this.#mark({ mark, groups: [] }, only, untilMs);
    const pieces = piecesOf(writes);
    for (const [index, value] of pieces.entries()) {
      const written = await this.#send(
        [this.#termGuard()],
        [{ kind: "put", key: stageKey(this.#parts.layout, mark, index), value }],
        untilMs,
      );
      // A stage without its mark counts for nothing.
      if (written.kind === "stopped") return this.#stopped(written.found);
      if (written.kind !== "written") return failed(written.message);
    }
    return this.#mark({ mark: { ...mark, staged: pieces.length }, groups: groups.value }, [], untilMs);
  }

  /** The transaction that makes a commit count. */
  async #mark(staged: Staged, writes: readonly Write[], untilMs: number): Promise<CommitOutcome> {
    const sent = await this.#send(
      [this.#termGuard(), this.#commitGuard()],
      [this.#putMark(staged.mark), ...operationsOf(this.#parts.layout, writes)],
      untilMs,
    );
    switch (sent.kind) {
      case "written":
        return this.#counts(staged, sent.header.revision);
      case "stopped":
        return this.#judge(staged, sent.found);
      case "failed":
        return failed(sent.message);
      case "unknown": {
        this.#doubt = staged;
        return this.#resolveDoubt(untilMs, sent.message);
      }
      case "no-space": {
        this.#doubt = staged;
        return this.#resolveByReading(staged, sent.message);
      }
    }
  }

  /** Doubts first, then what is staged: afterwards the records are what was committed, and nothing comes late. */
  async #settle(untilMs: number): Promise<CommitOutcome> {
    if (this.#state.kind === "closed") return failed("the store is closed");
    if (this.#state.kind === "deposed") return this.#state;
    if (this.#doubt !== undefined) {
      const outcome = await this.#resolveDoubt(untilMs, "an earlier commit has no outcome yet");
      if (outcome.kind === "deposed" || this.#doubt !== undefined) return outcome;
    }
    return this.#carry(untilMs);
  }

  /**
   * Takes the place of a commit in doubt with a mark of no content: afterwards it is written already, or never.
   * Answers what became of the commit in doubt.
   */
  async #resolveDoubt(untilMs: number, why: string): Promise<CommitOutcome> {
    const doubt = this.#doubt;
    if (doubt === undefined) return COMMITTED;
    const { opening } = this.#parts;
    this.#number += 1;
    const sent = await this.#send(
      [this.#termGuard(), this.#commitGuard()],
      [this.#putMark({ opening, number: this.#number })],
      untilMs,
    );
    switch (sent.kind) {
      case "written":
        this.#doubt = undefined;
        this.#commitRevision = sent.header.revision;
        return failed(why);
      case "stopped": {
        this.#doubt = undefined;
        const outcome = this.#judge(doubt, sent.found);
        return outcome.kind === "failed" ? failed(why) : outcome;
      }
      case "failed":
      case "unknown":
      case "no-space":
        return { kind: "unknown", message: why };
    }
  }

  /** For a commit that etcd is done with: nothing comes late, what can be read now is the outcome. */
  async #resolveByReading(doubt: Staged, why: string): Promise<CommitOutcome> {
    const unknown: CommitOutcome = { kind: "unknown", message: why };
    const { client, layout } = this.#parts;
    const read = await client.range({ from: layout.commit });
    if (!read.ok) return unknown;
    const [commit] = read.value.kvs;
    const found = readMark(commit);
    if (commit !== undefined && found !== undefined && isSame(found, doubt.mark)) {
      this.#doubt = undefined;
      return this.#counts(doubt, commit.modRevision);
    }
    if (commit?.modRevision !== this.#commitRevision) return unknown;
    this.#doubt = undefined;
    return failed(why);
  }

  /** Carries what is staged into the records; each step may be repeated, none comes late: the mark's revision guards. */
  async #carry(untilMs: number): Promise<CommitOutcome> {
    const staged = this.#staged;
    if (staged === undefined || this.#state.kind !== "open") return COMMITTED;
    const { layout } = this.#parts;
    const guards = [this.#termGuard(), this.#commitGuard()];
    const steps = staged.groups.map((group) => operationsOf(layout, group));
    const last = steps.pop() ?? [];
    for (let from = 0; from < steps.length; from += CARRIED_AT_ONCE) {
      const some = steps.slice(from, from + CARRIED_AT_ONCE);
      const sent = await Promise.all(some.map((operations) => this.#send(guards, operations, untilMs)));
      for (const one of sent) {
        if (one.kind === "stopped") return this.#stopped(one.found);
        if (one.kind !== "written") return failed(one.message);
      }
    }
    const { staged: _, ...mark } = staged.mark;
    const end: EtcdOperation[] = [this.#putMark(mark), { kind: "delete-prefix", prefix: layout.stages }];
    const sent = await this.#send(guards, [...last, ...end], untilMs);
    if (sent.kind === "stopped") {
      const found = readMark(sent.found.commit);
      const carried = found !== undefined && found.staged === undefined && isSame(found, mark);
      if (!isTermOf(this.#parts, sent.found) || !carried) return this.#stopped(sent.found);
    } else if (sent.kind !== "written") return failed(sent.message);
    this.#commitRevision =
      sent.kind === "written" ? sent.header.revision : (sent.found.commit?.modRevision ?? this.#commitRevision);
    this.#staged = undefined;
    return COMMITTED;
  }

  async #beSettled(): Promise<void> {
    const ready = await this.#settle(this.#deadline());
    if (ready.kind === "failed" || ready.kind === "unknown")
      throw new Error(`the store cannot be read: ${ready.message}`);
    if (ready.kind === "deposed") throw new Error(`the store cannot be read: term ${ready.term} took over`);
  }

  async #read(prefix: string): Promise<readonly ReadRecord[]> {
    await this.#beSettled();
    const { client, layout, metaRevision } = this.#parts;
    const warm = await this.#warm?.recordsAt(Math.max(metaRevision, this.#commitRevision), WARM_WITHIN_MS, prefix);
    if (warm !== undefined) return warm;
    this.#warm = undefined;
    const records = await readRecords(client, layout, prefix);
    if (!records.ok) throw new Error(`the store cannot be read: ${records.error.message}`);
    return records.value;
  }

  /** A guard did not hold: another term, our own commit seen again, or a stranger's hand. */
  #judge(staged: Staged, found: Found): CommitOutcome {
    const mark = readMark(found.commit);
    if (isTermOf(this.#parts, found) && found.commit !== undefined && mark !== undefined && isSame(mark, staged.mark))
      return this.#counts(staged, found.commit.modRevision);
    return this.#stopped(found);
  }

  #stopped(found: Found): CommitOutcome {
    if (!isTermOf(this.#parts, found)) {
      const meta = found.meta && readStored(metaSchema, found.meta.value);
      this.#state = { kind: "deposed", term: meta?.term ?? this.term + 1 };
      this.#parts.lead.forget();
      return this.#state;
    }
    // Only a leader writes the mark, and this term is ours: what stands there now is the one to go on from.
    this.#commitRevision = found.commit?.modRevision ?? 0;
    return failed(`${this.#parts.layout.commit} was changed by somebody else; only cluster managers may write there`);
  }

  #counts(staged: Staged, revision: number): CommitOutcome {
    this.#commitRevision = revision;
    if (staged.mark.staged !== undefined) this.#staged = staged;
    return COMMITTED;
  }

  #send(compare: readonly EtcdCompare[], success: readonly EtcdOperation[], untilMs: number): Promise<Guarded> {
    return sendGuarded(this.#parts, { compare, success }, untilMs);
  }

  #termGuard(): EtcdCompare {
    return { key: this.#parts.layout.meta, modRevision: this.#parts.metaRevision };
  }

  #commitGuard(): EtcdCompare {
    return { key: this.#parts.layout.commit, modRevision: this.#commitRevision };
  }

  #putMark(mark: CommitMark): EtcdOperation {
    return { kind: "put", key: this.#parts.layout.commit, value: JSON.stringify(mark) };
  }

  #deadline(): number {
    return this.#parts.clock.nowMs() + this.#parts.commitMs;
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

function isTermOf({ metaRevision }: EtcdStoreParts, { meta }: Found): boolean {
  return meta?.modRevision === metaRevision;
}

function isSame(one: CommitMark, other: CommitMark): boolean {
  return one.opening === other.opening && one.number === other.number;
}

function readMark(stored: KeyValue | undefined): CommitMark | undefined {
  return stored && readStored(commitSchema, stored.value);
}

function failed(message: string): CommitOutcome {
  return { kind: "failed", message };
}
