import type { Clock } from "@muster/base";
import type { EtcdClient } from "./etcd/etcd-client.ts";
import type { EtcdCompare, EtcdHeader, EtcdOperation, KeyValue } from "./etcd/messages.ts";
import type { EtcdLayout } from "./etcd-layout.ts";

/** How a guarded transaction ended. */
export type Guarded =
  | { readonly kind: "written"; readonly header: EtcdHeader }
  /** A guard did not hold (any more): what meta, commit mark and lead are instead. */
  | { readonly kind: "stopped"; readonly found: Found; readonly header: EtcdHeader }
  /** Certainly not written, and never will be. */
  | { readonly kind: "failed"; readonly message: string }
  /** etcd is done with it for lack of space. The one that uses the last up is written and refused all the same: read. */
  | { readonly kind: "no-space"; readonly message: string }
  /** Maybe written, or written later. */
  | { readonly kind: "unknown"; readonly message: string };

export type Found = {
  readonly meta: KeyValue | undefined;
  readonly commit: KeyValue | undefined;
  readonly lead: KeyValue | undefined;
};

export type GuardedTxn = { readonly compare: readonly EtcdCompare[]; readonly success: readonly EtcdOperation[] };

const REPEAT_PAUSE_MS = 50;
export const QUORUM_REMEDY = "more than half of etcd's members must run and reach each other; see muster doctor";
export const SPACE_REMEDY =
  "nothing more is stored until etcd has space: compact its history, defragment it and disarm the alarm (etcdctl)";

/**
 * Sends a transaction until it is known what became of it, or until `untilMs`. To repeat it is safe, because it changes
 * a key that one of its own guards names: carried out once, it stops itself, and the caller sees its own mark.
 */
export async function sendGuarded(
  parts: { readonly client: EtcdClient; readonly clock: Clock; readonly layout: EtcdLayout },
  txn: GuardedTxn,
  untilMs: number,
): Promise<Guarded> {
  const { client, clock, layout } = parts;
  const failure: EtcdOperation[] = [layout.meta, layout.commit, layout.lead].map((key) => ({ kind: "get", key }));
  let sent = false;
  for (;;) {
    const answer = await client.txn({ ...txn, failure });
    if (answer.ok) {
      const { succeeded, header, reads } = answer.value;
      if (succeeded) return { kind: "written", header };
      const [meta, commit, lead] = reads;
      return { kind: "stopped", found: { meta, commit, lead }, header };
    }
    const { kind, message } = answer.error;
    switch (kind) {
      case "unsent":
        break;
      case "unclear":
        sent = true;
        break;
      case "no-space":
        return { kind: sent ? "unknown" : "no-space", message: `${message}; ${SPACE_REMEDY}` };
      case "refused":
      case "denied":
      case "compacted":
      case "too-large":
        return { kind: sent ? "unknown" : "failed", message };
    }
    if (clock.nowMs() + REPEAT_PAUSE_MS >= untilMs)
      return { kind: sent ? "unknown" : "failed", message: `${message}; ${QUORUM_REMEDY}` };
    await client.pause(REPEAT_PAUSE_MS);
  }
}
