import { HOLD_MS_MAX, type LeaseState } from "@muster/protocol";
import type { LendRecord } from "./lender-contract.ts";

const REASON_LENGTH_MAX = 500;
const ADDRESS_LENGTH_MAX = 64;

/** The exchange as its borrower may see it: durations instead of times, one line of reason (B4, S1). */
export function leaseStateOf(record: LendRecord, nowMs: number): LeaseState {
  const { id, revision, stage, vmPhase, address, access, endsAtMs } = record;
  const ends = stage === "leased" && endsAtMs !== undefined;
  const reason = ends ? record.endReason : record.reason;
  return {
    id,
    revision,
    stage,
    remainingMs: stage === "held" || stage === "leased" ? leftMs(record, nowMs) : 0,
    ...(vmPhase === undefined ? {} : { vm: vmPhase }),
    ...(address === undefined ? {} : { address: address.slice(0, ADDRESS_LENGTH_MAX) }),
    ...(access === undefined ? {} : { access }),
    ...(stage !== "leased" || record.tunnelEnd === undefined ? {} : { tunnel: record.tunnelEnd }),
    ...(reason === undefined ? {} : { reason: oneLine(reason) }),
    ...(ends ? { endsWithinMs: Math.max(0, Math.floor(endsAtMs - nowMs)) } : {}),
  };
}

/** What is left of a hold, within what the message can say. */
export function holdLeftMs(record: LendRecord, nowMs: number): number {
  return record.stage === "held" ? Math.min(HOLD_MS_MAX, leftMs(record, nowMs)) : 0;
}

function leftMs(record: LendRecord, nowMs: number): number {
  const { expiresAtMs, endsAtMs = Number.POSITIVE_INFINITY } = record;
  return Math.max(0, Math.floor(Math.min(expiresAtMs, endsAtMs) - nowMs));
}

function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ").slice(0, REASON_LENGTH_MAX);
}
