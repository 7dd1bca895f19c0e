/**
 * Holds that an admin has to approve. A hold above the limit is refused with `awaiting-approval` and remembered; the borrower
 * asks again under the same id, which is how it comes to know the decision (B1).
 */
import { type Hold, type Refusal, refusal } from "@muster/protocol";
import type { PeerBook } from "./lend-book.ts";
import { change, type LendTurn, put, tell } from "./lend-turn.ts";
import type { Approval, LendRecord } from "./lender-contract.ts";

/** Most holds of one peer that wait for an admin at once (S2). */
export const PENDING_MAX = 100;
/** How long an admin has, and how long an approval is good for; less where exchanges are forgotten earlier. */
const APPROVAL_MS = 24 * 3_600_000;
const RETRY_MS = 30_000;

/** The hold waits: stored, so that it waits across restarts and is refused with the same words each time. */
export function putOff(turn: LendTurn, peer: PeerBook, hold: Hold, why: string): Refusal {
  const base = { id: hold.id, digest: hold.digest, leaseMs: hold.leaseMs, renewals: 0, stage: "voided" } as const;
  const expiresAtMs = turn.env.nowMs;
  const pending = [...peer.closed.values()].filter((record) => isPending(record, turn.env.nowMs));
  if (pending.length >= PENDING_MAX) {
    const many = `${PENDING_MAX} requests of your site wait for an admin here already`;
    const full = refusal("resource-constraint", "too-many-approvals", many, { retryAfterMs: 60_000 });
    change(turn, peer, { ...base, expiresAtMs, reason: many, refusal: full });
    return full;
  }
  const awaiting = refusal("resource-constraint", "awaiting-approval", why, { retryAfterMs: RETRY_MS });
  const approval: Approval = { state: "pending", untilMs: turn.env.nowMs + lifeMs(turn) };
  const record = change(turn, peer, { ...base, hold, expiresAtMs, reason: why, refusal: awaiting, approval });
  tell(turn, record, `${hold.name} of ${peer.domain} waits for approval: ${why}`);
  return awaiting;
}

/** What a repeat of the hold is told; `undefined`: it is approved, and the rules have the word. */
export function heldUp(record: LendRecord, nowMs: number): Refusal | undefined {
  const { approval } = record;
  if (approval === undefined) return record.refusal;
  if (approval.state === "denied") return record.refusal;
  if (approval.untilMs <= nowMs) return expired(record.id);
  return approval.state === "approved" ? undefined : record.refusal;
}

export function isPending({ approval }: LendRecord, nowMs: number): boolean {
  return approval?.state === "pending" && approval.untilMs > nowMs;
}

/** An admin decides. The same decision again changes nothing; another one is a conflict. */
export function decide(
  turn: LendTurn,
  peer: PeerBook,
  record: LendRecord,
  approve: boolean,
  reason: string | undefined,
): Refusal | undefined {
  const { approval, id } = record;
  if (approval === undefined)
    return refusal("conflict", "not-awaiting", `exchange ${id} waits for no approval: it is ${record.stage}`);
  const state = approve ? "approved" : "denied";
  if (approval.state === state) return undefined;
  if (approval.state !== "pending") return refusal("conflict", "decided-already", `${id} is ${approval.state} already`);
  if (approval.untilMs <= turn.env.nowMs) return expired(id);
  const why = reason === undefined ? "" : `: ${reason}`;
  const untilMs = turn.env.nowMs + lifeMs(turn);
  const denial = refusal("policy-violation", "denied", `an admin of this site denied it${why}`);
  const decided = put(turn, peer, {
    ...record,
    approval: { state, untilMs },
    ...(approve ? {} : { refusal: denial, reason: denial.message }),
  });
  tell(turn, decided, `${record.hold?.name ?? id} of ${peer.domain} is ${state}${why}`);
  return undefined;
}

/** Until an admin or the borrower has decided; never longer than exchanges are remembered. */
function lifeMs({ env }: LendTurn): number {
  return Math.min(APPROVAL_MS, env.rememberMs / 2);
}

function expired(id: string): Refusal {
  return refusal("policy-violation", "approval-expired", `the approval of ${id} has expired; ask under a new id`, {
    field: "id",
  });
}
