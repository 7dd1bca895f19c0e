import { err, ok, type Result } from "@muster/base";
import type { EtcdClient } from "./etcd/etcd-client.ts";
import type { EtcdFault } from "./etcd/etcd-fault.ts";
import type { KeyValue } from "./etcd/messages.ts";
import type { EtcdLayout } from "./etcd-layout.ts";

export type Listing = { readonly revision: number };

/** A record as it is stored: its name without what lies before all records. */
export type ListedRecord = { readonly key: string; readonly kind: "text"; readonly text: string };

const PAGE_MAX = 1_000;
const RESTARTS_MAX = 3;

/**
 * Hands on all keys below a prefix, page by page, all as of one revision; `begin` is called before the first page, and
 * again when the history was compacted meanwhile and all is read anew.
 */
export async function readPages(
  client: EtcdClient,
  prefix: string,
  begin: () => void,
  take: (page: readonly KeyValue[]) => "more" | "enough",
): Promise<Result<Listing, EtcdFault>> {
  let limit = PAGE_MAX;
  let restarts = 0;
  let from = prefix;
  let revision: number | undefined;
  begin();
  for (;;) {
    const page = await client.range({ from, prefix, limit, ...(revision === undefined ? {} : { revision }) });
    if (!page.ok) {
      if (page.error.kind === "too-large" && limit > 1) {
        limit = Math.ceil(limit / 4);
        continue;
      }
      if (page.error.kind !== "compacted" || restarts >= RESTARTS_MAX) return err(page.error);
      restarts += 1;
      from = prefix;
      revision = undefined;
      begin();
      continue;
    }
    const { header, kvs, more } = page.value;
    revision ??= header.revision;
    const last = kvs.at(-1);
    if (take(kvs) === "enough" || !more || last === undefined) return ok({ revision });
    from = `${last.key}\0`;
  }
}

/** All records whose name begins with `prefix`, as of one revision, in order. */
export async function readRecords(
  client: EtcdClient,
  layout: EtcdLayout,
  prefix: string,
): Promise<Result<ListedRecord[], EtcdFault>> {
  let records: ListedRecord[] = [];
  const listed = await readPages(
    client,
    layout.records + prefix,
    () => {
      records = [];
    },
    (page) => {
      for (const { key, value } of page)
        records.push({ key: key.slice(layout.records.length), kind: "text", text: value });
      return "more";
    },
  );
  return listed.ok ? ok(records) : listed;
}
