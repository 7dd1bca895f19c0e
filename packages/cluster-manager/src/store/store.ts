/**
 * Port Store: the hard state of a site and its term. Contract (suite in `store.contract.ts`):
 *
 * - opening makes the opener leader of the next term, which no other opener ever gets (L1);
 * - a commit is atomic and durable when it answers `committed`, and changes nothing when the term has moved on (L2);
 * - a commit of unknown outcome is never repeated blindly: reopen and read.
 */
import type { RecordChange } from "../core/records.ts";

export type CommitOutcome =
  | { readonly kind: "committed" }
  /** A newer term exists: step down at once. */
  | { readonly kind: "deposed"; readonly term: number }
  /** Nothing was written: no space left, read-only. The sentence names the cause. */
  | { readonly kind: "failed"; readonly message: string }
  /** It may or may not have been written. */
  | { readonly kind: "unknown"; readonly message: string };

export type Store = {
  readonly term: number;
  /** All records whose key begins with `prefix`, in order of key. A value that is no JSON fails the scan, naming its key. */
  scan(prefix: string): AsyncIterable<readonly [string, unknown]>;
  /**
   * All records as of one moment, in order of key, each as the text that is stored: for a backup, without holding all of
   * them in memory. Throws where they cannot be read to the end.
   */
  snapshot(): AsyncIterable<readonly [string, string]>;
  /** One transaction: all or nothing, synchronous on disk before it answers. Last change of a key wins. */
  commit(changes: readonly RecordChange[]): Promise<CommitOutcome>;
  close(): Promise<void>;
};
