import type { Store } from "./store.ts";

/** All records below a prefix at once: a site's hard state fits in memory by its bounds. Throws where one cannot be read. */
export async function readAll(store: Store, prefix: string): Promise<(readonly [string, unknown])[]> {
  const records: (readonly [string, unknown])[] = [];
  for await (const record of store.scan(prefix)) records.push(record);
  return records;
}
