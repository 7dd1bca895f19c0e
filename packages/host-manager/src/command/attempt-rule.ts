import { type AttemptRecord, isLive } from "../core/state.ts";

/** What is to be done about an order for one attempt, from what the host remembers of the VM. */
export type AttemptVerdict =
  /** Never heard of, or everything heard of is over: this attempt is the newest. */
  | { readonly kind: "new" }
  | { readonly kind: "same"; readonly record: AttemptRecord }
  /** It never started and never will (H5). */
  | { readonly kind: "void" }
  /** An earlier attempt still has a domain here: two of one VM are never allowed (P1). */
  | { readonly kind: "twin"; readonly record: AttemptRecord };

/** H5: an attempt starts at most once; once a later one is known, or it was voided, it never starts. */
export function judgeAttempt(record: AttemptRecord | undefined, attempt: number): AttemptVerdict {
  if (record === undefined) return { kind: "new" };
  if (attempt === record.attempt) return { kind: "same", record };
  if (attempt < record.attempt || attempt <= (record.voided ?? 0)) return { kind: "void" };
  return isLive(record) ? { kind: "twin", record } : { kind: "new" };
}

/** Promises that `attempt` never starts: a tombstone of its own, or a mark on the record of a live earlier attempt. */
export function voided(record: AttemptRecord | undefined, vm: string, attempt: number, reason?: string): AttemptRecord {
  if (record !== undefined && isLive(record)) return { ...record, voided: Math.max(attempt, record.voided ?? 0) };
  return { vm, attempt, state: "void", ...(reason === undefined ? {} : { reason }) };
}
