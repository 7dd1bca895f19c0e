/** Ends of leases that the lender brings about: its admin revokes one, or its own users need the room (home first). */
import { type Refusal, refusal } from "@muster/protocol";
import { orderRemoval } from "./expiry.ts";
import { exchangeOver } from "./hold.ts";
import type { LendBook, PeerBook } from "./lend-book.ts";
import { change, type LendTurn, notify, tell } from "./lend-turn.ts";
import type { LenderEvent, LendRecord } from "./lender-contract.ts";

/** The borrower is told, and has until then to extend elsewhere, save or stop; without notice it ends at once. */
export function giveNotice(
  turn: LendTurn,
  peer: PeerBook,
  record: LendRecord,
  notice: { readonly noticeMs: number; readonly reason: string; readonly endsFor?: string },
): void {
  const { noticeMs, reason, endsFor } = notice;
  const name = `${record.hold?.name ?? record.id} of ${peer.domain}`;
  if (record.stage === "held" || noticeMs <= 0) {
    const ended =
      record.stage === "held"
        ? change(turn, peer, { ...record, stage: "voided", reason })
        : orderRemoval(turn, peer, record, reason);
    notify(turn, ended);
    tell(turn, ended, `the lease of ${name} is ended: ${reason}`);
    return;
  }
  const endsAtMs = Math.min(record.endsAtMs ?? Number.POSITIVE_INFINITY, turn.env.nowMs + noticeMs);
  const noticed = change(turn, peer, {
    ...record,
    endsAtMs,
    endReason: reason,
    // What an admin ends does not go on because a VM found its room.
    endsFor,
  });
  notify(turn, noticed);
  tell(turn, noticed, `the lease of ${name} ends in ${Math.ceil((endsAtMs - turn.env.nowMs) / 1_000)} s: ${reason}`);
}

/** The lender's admin ends a lease, with or without notice. Asked again, it says no more. */
export function revoke(
  turn: LendTurn,
  peer: PeerBook,
  record: LendRecord,
  { noticeMs, reason }: { readonly noticeMs: number; readonly reason: string },
): Refusal | undefined {
  if (record.stage === "releasing") return undefined;
  if (record.stage !== "held" && record.stage !== "leased") return exchangeOver(record);
  giveNotice(turn, peer, record, { noticeMs, reason: `revoked by the lender: ${reason}` });
  return undefined;
}

/**
 * An own VM waits for room that one of these leases takes: the youngest whose policy lets it be pre-empted gets its notice.
 * One lease for one VM: while that notice runs, or its VM is being removed, nothing more is taken back for it.
 */
export function makeRoom(turn: LendTurn, event: LenderEvent & { readonly kind: "make-room" }): void {
  const { book, env } = turn;
  let youngest: { readonly peer: PeerBook; readonly record: LendRecord; readonly noticeMs: number } | undefined;
  for (const { peer: domain, id } of event.leases) {
    const peer = book.peers.get(domain);
    const record = peer?.open.get(id);
    const noticeMs = env.peering(domain)?.lend.preempt?.noticeMs;
    if (peer === undefined || record?.stage !== "leased" || noticeMs === undefined) continue;
    if (record.endsAtMs !== undefined) continue;
    if (youngest === undefined || isYounger(record, youngest.record)) youngest = { peer, record, noticeMs };
  }
  if (youngest === undefined || isUnderWay(book, event.vm)) return;
  const { peer, record, noticeMs } = youngest;
  giveNotice(turn, peer, record, { noticeMs, reason: event.reason, endsFor: event.vm });
}

/** Takes back the notices that were given on behalf of the VM, as long as they run: those leases go on as before. */
export function withdraw(turn: LendTurn, { vm, reason }: LenderEvent & { readonly kind: "room-found" }): void {
  for (const peer of turn.book.peers.values())
    for (const record of [...peer.open.values()]) {
      if (record.endsFor !== vm || record.stage !== "leased" || (record.endsAtMs ?? 0) <= turn.env.nowMs) continue;
      const { endsAtMs: _at, endReason: _why, endsFor: _for, ...rest } = record;
      const kept = change(turn, peer, rest);
      notify(turn, kept);
      tell(turn, kept, `the lease of ${record.hold?.name ?? record.id} of ${peer.domain} goes on: ${reason}`);
    }
}

function isUnderWay(book: LendBook, vm: string): boolean {
  for (const { open } of book.peers.values()) for (const { endsFor } of open.values()) if (endsFor === vm) return true;
  return false;
}

function isYounger(left: LendRecord, right: LendRecord): boolean {
  const difference = (left.leasedAtMs ?? left.changedAtMs) - (right.leasedAtMs ?? right.changedAtMs);
  return difference > 0 || (difference === 0 && left.id > right.id);
}

/** The exchange that an admin names. The id alone is the peer's to choose: two peers may have the same. */
export function findNamed(book: LendBook, id: string, domain: string | undefined) {
  const found: { readonly peer: PeerBook; readonly record: LendRecord }[] = [];
  for (const peer of book.peers.values()) {
    const record = peer.open.get(id) ?? peer.closed.get(id);
    if (record !== undefined && (domain === undefined || peer.domain === domain)) found.push({ peer, record });
  }
  const [only] = found;
  if (only === undefined) return refusal("item-not-found", "unknown-lease", `nothing is lent here under ${id}`);
  if (found.length > 1)
    return refusal("conflict", "ambiguous-lease", `${id} stands for leases of several peers: name the peer`, {
      field: "peer",
    });
  return only;
}
