import { NOTICES_MAX, type Notices } from "@muster/protocol";
import type { Turn } from "../core/turn.ts";

/** Sends the oldest notices once they are due and none are under way; what is unanswered goes again (at-least-once). */
export function sendNotices(turn: Turn): void {
  const { timing } = turn;
  if (!turn.linked || turn.notices.size === 0 || timing.noticesSent !== undefined || timing.noticesDueMs > turn.nowMs)
    return;
  const oldest = Array.from(turn.notices.map.values())
    .sort((left, right) => left.sequence - right.sequence)
    .slice(0, NOTICES_MAX);
  const notices: Notices = { bootId: turn.bootId, notices: oldest };
  const batch = timing.batch + 1;
  turn.timing = { ...timing, batch, noticesSent: oldest.at(-1)?.sequence ?? 0 };
  turn.effects.push({ kind: "notify", batch, notices });
}

/** The leader stored everything up to `sequence`. More than was sent to it cannot have been stored. */
export function noticesTaken(turn: Turn, batch: number, sequence: number): void {
  if (batch !== turn.timing.batch) return;
  const upTo = Math.min(sequence, turn.timing.noticesSent ?? 0);
  for (const notice of Array.from(turn.notices.map.values())) {
    if (notice.sequence <= upTo) turn.notices.delete(notice.vm);
  }
  const { noticesSent, ...timing } = turn.timing;
  if (noticesSent !== undefined && upTo < noticesSent) {
    retryNotices(turn);
    return;
  }
  turn.timing = { ...timing, noticeFailures: 0, noticesDueMs: turn.nowMs };
}

/** Nobody answered for the batch: it waits, longer each time. */
export function retryNotices(turn: Turn): void {
  const { noticesSent: _, ...timing } = turn.timing;
  const waitMs = Math.min(
    turn.policy.noticeRetryMsMax,
    turn.policy.noticeRetryMs * 2 ** Math.min(timing.noticeFailures, 20),
  );
  turn.timing = { ...timing, noticeFailures: timing.noticeFailures + 1, noticesDueMs: turn.nowMs + waitMs };
}

/**
 * Somebody is there who may not have heard them: what had to wait does so no longer. Nor is an answer awaited of whoever
 * was there before, who may be gone: news would wait behind it.
 */
export function noticesDueNow(turn: Turn): void {
  const { noticesSent: _, ...timing } = turn.timing;
  turn.timing = { ...timing, noticeFailures: 0, noticesDueMs: turn.nowMs };
}
