/** What is stored of a live move, so that any leader can bring it to its end (L3). */
import { z } from "zod";

/**
 *   copying ── all is over there ─▶ finishing ── it runs there ─▶ confirming ── source is clean ─▶ (over)
 *      │                               └─ it does not ─▶ abandoning ── never will ─┐
 *      └── failed, or not wanted any more ─────────────────────────────────────▶ resuming ── source goes on ─▶ (over)
 *
 * Stored before the question that it allows is asked: only in `finishing` may the destination be told to run the guest, and
 * from there the source goes on only after the destination has said that it never will (P1).
 */
export const moveStageSchema = z.enum(["copying", "finishing", "confirming", "abandoning", "resuming"]);

export const moveRecordSchema = z.object({
  id: z.string(),
  from: z.string(),
  fromAttempt: z.int().min(1),
  to: z.string(),
  /** Of the destination (H5). */
  attempt: z.int().min(1),
  stage: moveStageSchema,
  startedAtMs: z.number(),
  /** Why it is given up. */
  reason: z.string().optional(),
});
export type MoveRecord = z.output<typeof moveRecordSchema>;

/** A destination that has not said yet that its part of a move which was given up is void. It was never told to run it. */
export const leftoverSchema = z.object({
  id: z.string(),
  host: z.string(),
  attempt: z.int().min(1),
  /** The host was declared dead: it owes no word, and what comes back with it is over (P1). */
  dead: z.literal(true).optional(),
});
export type Leftover = z.output<typeof leftoverSchema>;
