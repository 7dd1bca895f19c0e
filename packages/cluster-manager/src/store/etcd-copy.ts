import type { EtcdEvent, KeyValue } from "./etcd/messages.ts";
import {
  commitSchema,
  type EtcdLayout,
  leadSchema,
  metaSchema,
  readStored,
  stageKey,
  stagePieceSchema,
} from "./etcd-layout.ts";

/** A record's value, decoded; a text that is no JSON stays as it is, for the scan to name. */
export type CopiedRecord = { readonly key: string } & (
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "broken"; readonly text: string }
);

type Entry = { readonly record: CopiedRecord; readonly bytes: number };

/** Who leads, as the store says, and where its API is. `alive`: its lease has not run out. */
export type StoredLead = {
  readonly manager: string;
  readonly term: number;
  readonly alive: boolean;
  readonly url?: string | undefined;
};

/**
 * A site's records, decoded and kept up to date by what a watch tells. A staged commit counts from its mark on, as it does
 * for whoever opens the store.
 */
export class EtcdCopy {
  readonly #layout: EtcdLayout;
  readonly #records = new Map<string, Entry>();
  readonly #stages = new Map<string, string>();
  #meta: KeyValue | undefined;
  #mark: KeyValue | undefined;
  #lead: KeyValue | undefined;
  #bytes = 0;
  #revision = 0;

  constructor(layout: EtcdLayout) {
    this.#layout = layout;
  }

  /** Everything up to this revision is in it. */
  get revision(): number {
    return this.#revision;
  }

  /** Keys and texts held. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#records.size;
  }

  get lead(): StoredLead | undefined {
    const meta = this.#meta && readStored(metaSchema, this.#meta.value);
    if (meta === undefined) return undefined;
    const lead = this.#lead && readStored(leadSchema, this.#lead.value);
    const alive = lead?.term === meta.term;
    return { manager: meta.manager, term: meta.term, alive, ...(alive && lead.url !== undefined && { url: lead.url }) };
  }

  /** Takes in what was listed; `end` once all of it is there. */
  fill(page: readonly KeyValue[]): void {
    for (const stored of page) this.#put(stored);
  }

  /** All that was listed is as of this revision. Only now a staged commit is whole. */
  end(revision: number): void {
    this.#count();
    this.#revision = revision;
  }

  /** Whole revisions, as a watch tells them; those that are in it already are passed over. */
  apply(events: readonly EtcdEvent[]): void {
    const known = this.#revision;
    for (const { type, kv } of events) {
      if (kv.modRevision <= known) continue;
      if (type === "DELETE") this.#delete(kv.key);
      else {
        this.#put(kv);
        if (kv.key === this.#layout.commit) this.#count();
      }
      this.#revision = Math.max(this.#revision, kv.modRevision);
    }
  }

  /** The records below a prefix, in order of key. */
  records(prefix: string): CopiedRecord[] {
    const names = [...this.#records.keys()].filter((name) => name.startsWith(prefix)).sort();
    return names.flatMap((name) => this.#records.get(name)?.record ?? []);
  }

  #put(stored: KeyValue): void {
    const { key, value } = stored;
    const { meta, commit, lead, records, stages } = this.#layout;
    if (key === meta) this.#meta = stored;
    else if (key === commit) this.#mark = stored;
    else if (key === lead) this.#lead = stored;
    else if (key.startsWith(records)) this.#setRecord(key.slice(records.length), value);
    else if (key.startsWith(stages)) this.#setStage(key, value);
  }

  #delete(key: string): void {
    const { meta, commit, lead, records, stages } = this.#layout;
    if (key === meta) this.#meta = undefined;
    else if (key === commit) this.#mark = undefined;
    else if (key === lead) this.#lead = undefined;
    else if (key.startsWith(records)) this.#setRecord(key.slice(records.length), null);
    else if (key.startsWith(stages)) this.#setStage(key, undefined);
  }

  /** What is staged counts as soon as the mark says so; that it is carried into the records later changes nothing. */
  #count(): void {
    const mark = this.#mark && readStored(commitSchema, this.#mark.value);
    for (let index = 0; mark !== undefined && index < (mark.staged ?? 0); index += 1) {
      const text = this.#stages.get(stageKey(this.#layout, mark, index));
      const writes = text === undefined ? [] : (readStored(stagePieceSchema, text) ?? []);
      for (const [name, value] of writes) this.#setRecord(name, value);
    }
  }

  #setRecord(name: string, text: string | null): void {
    this.#bytes -= this.#records.get(name)?.bytes ?? 0;
    if (text === null) {
      this.#records.delete(name);
      return;
    }
    const bytes = sizeOf(name, text);
    this.#records.set(name, { record: decoded(name, text), bytes });
    this.#bytes += bytes;
  }

  #setStage(key: string, text: string | undefined): void {
    const before = this.#stages.get(key);
    if (before !== undefined) this.#bytes -= sizeOf(key, before);
    if (text === undefined) {
      this.#stages.delete(key);
      return;
    }
    this.#stages.set(key, text);
    this.#bytes += sizeOf(key, text);
  }
}

function decoded(key: string, text: string): CopiedRecord {
  try {
    return { key, kind: "value", value: JSON.parse(text) };
  } catch {
    return { key, kind: "broken", text };
  }
}

/** Keys and texts as they came; decoded they take a few times as much. */
function sizeOf(key: string, text: string): number {
  return key.length + text.length;
}
