import { z } from "zod";
import type { RecordChange } from "../core/records.ts";
import { STORE_SCHEMA } from "./store-fault.ts";

/** Where things lie below a site's prefix; the same names as in the level store. */
export type EtcdLayout = {
  readonly prefix: string;
  /** Term and its leader. Only an opening changes it, so that its revision guards every write of a term (L2). */
  readonly meta: string;
  /** Number of the last commit: tells whether one of unknown outcome was written, and keeps a late one out. */
  readonly commit: string;
  /** Exists as long as its leader keeps its lease: a second opinion for standbys, never a guard. */
  readonly lead: string;
  readonly records: string;
  readonly stages: string;
};

export function layoutOf(prefix: string): EtcdLayout {
  const base = prefix.endsWith("/") ? prefix : `${prefix}/`;
  return {
    prefix: base,
    meta: `${base}meta/site`,
    commit: `${base}meta/commit`,
    lead: `${base}meta/lead`,
    records: `${base}record/`,
    stages: `${base}stage/`,
  };
}

/** The part of `meta/site` that every version keeps. */
export const metaVersionSchema = z.looseObject({ schema: z.int().min(0) });

export const metaSchema = z.looseObject({
  schema: z.literal(STORE_SCHEMA),
  site: z.string(),
  term: z.int().min(0),
  manager: z.string(),
  /** Unique for each opening: whether a raise of unknown outcome was ours. */
  opening: z.string(),
  /** Of the etcd that it was written in: a restored one is another cluster, or begins its elections anew. */
  clusterId: z.string(),
  raftTerm: z.int().min(0),
});
export type Meta = z.output<typeof metaSchema>;

export const commitSchema = z.looseObject({
  /** Opening whose commit it is, and its number within; never used twice. */
  opening: z.string(),
  number: z.int().min(0),
  /** So many pieces under `stage/<opening>-<number>/` belong to it and are not all carried into the records yet. */
  staged: z.int().min(1).optional(),
});
export type CommitMark = z.output<typeof commitSchema>;

export const leadSchema = z.looseObject({
  manager: z.string(),
  term: z.int().min(0),
  /** Base address of its HTTP API, for those who are asked in its place. */
  url: z
    .url({ protocol: /^https?$/ })
    .optional()
    .catch(undefined),
});

/** Piece `index` of a staged commit. */
export function stageKey(layout: EtcdLayout, mark: CommitMark, index: number): string {
  return `${layout.stages}${mark.opening}-${mark.number}/${index}`;
}

/** A record's change as it is written: the value as JSON, `null` deletes. */
export type Write = readonly [key: string, text: string | null];

export const stagePieceSchema = z.array(z.tuple([z.string(), z.string().nullable()]));

/** One write a key, the last one: etcd takes a key once in a transaction. */
export function writesOf(changes: readonly RecordChange[]): Write[] {
  const last = new Map<string, string | null>();
  for (const change of changes) {
    last.delete(change.key);
    last.set(change.key, change.kind === "put" ? JSON.stringify(change.value) : null);
  }
  return [...last];
}

/** A stored JSON text by its schema; `undefined` where it is something else. */
export function readStored<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
