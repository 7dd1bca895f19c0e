/** The store of a site as its managers see it: one term at a time, every commit guarded by it, all or nothing. */
import type { RecordChange } from "@muster/cluster-manager";

export type Kept = { readonly key: string; readonly before: unknown; readonly after: unknown };

export class SiteStore {
  term = 0;
  readonly records = new Map<string, unknown>();

  /** Whoever calls leads from now on, under the next term (L1). */
  raiseTerm(): number {
    this.term += 1;
    return this.term;
  }

  /** Applies the changes, and tells what they were of. */
  apply(changes: readonly RecordChange[]): Kept[] {
    return changes.map((change) => {
      const before = this.records.get(change.key);
      if (change.kind === "put") this.records.set(change.key, change.value);
      else this.records.delete(change.key);
      return { key: change.key, before, after: change.kind === "put" ? change.value : undefined };
    });
  }

  /** Everything as it would be read back from a disk. */
  read(): [string, unknown][] {
    return [...this.records].map(([key, value]) => [key, JSON.parse(JSON.stringify(value))]);
  }
}
