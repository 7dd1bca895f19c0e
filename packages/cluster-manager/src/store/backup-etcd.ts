import type { EtcdClient } from "./etcd/etcd-client.ts";
import type { EtcdLayout } from "./etcd-layout.ts";

const PAGE_MAX = 500;

/** What a leader's snapshot is read with: `metaRevision` is where its term began. */
export type SnapshotParts = {
  readonly client: EtcdClient;
  readonly layout: EtcdLayout;
  readonly metaRevision: number;
};

/**
 * All records page by page as of one revision, at which the leader's term still stood and nothing was half carried out.
 * Throws where etcd does not answer, compacted the revision away meanwhile, or another term took over: ask again.
 */
export async function* snapshotPages({
  client,
  layout,
  metaRevision,
}: SnapshotParts): AsyncGenerator<readonly [string, string]> {
  const start = await client.range({ from: layout.meta });
  if (!start.ok) throw new Error(`the store cannot be read: ${start.error.message}`);
  const { header, kvs } = start.value;
  if (kvs[0]?.modRevision !== metaRevision) throw new Error("the store cannot be read: another term took over");
  const { revision } = header;
  let limit = PAGE_MAX;
  for (let from = layout.records; ; ) {
    const page = await client.range({ from, prefix: layout.records, limit, revision });
    if (!page.ok) {
      if (page.error.kind !== "too-large" || limit === 1)
        throw new Error(`the store cannot be read to its end: ${page.error.message}`);
      limit = Math.ceil(limit / 4);
      continue;
    }
    for (const { key, value } of page.value.kvs) yield [key.slice(layout.records.length), value] as const;
    const last = page.value.kvs.at(-1);
    if (!page.value.more || last === undefined) return;
    from = `${last.key}\0`;
  }
}
