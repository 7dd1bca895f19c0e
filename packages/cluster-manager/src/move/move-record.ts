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

/** The other site, in the place of one of the two hosts: `from` or `to` is its domain then. */
export const movePeerSchema = z.object({
  domain: z.string(),
  exchange: z.string(),
  role: z.enum(["source", "destination"]),
});

export const moveRecordSchema = z.object({
  id: z.string(),
  from: z.string(),
  fromAttempt: z.int().min(1),
  to: z.string(),
  /** Of the destination (H5). */
  attempt: z.int().min(1),
  stage: moveStageSchema,
  startedAtMs: z.number(),
  peer: movePeerSchema.optional(),
  /** Why it is given up. */
  reason: z.string().optional(),
});
export type MoveRecord = z.output<typeof moveRecordSchema>;

/**
 * Of a VM that runs here for a peer, or is to: its borrower steers its move. Until that is over its host hears of it by the
 * steps alone, and what it looks like there means nothing by itself.
 */
export const lentMoveSchema = z.object({ role: z.enum(["incoming", "outgoing"]) });
export type LentMove = z.output<typeof lentMoveSchema>;

/** A destination that has not said yet that its part of a move which was given up is void. It was never told to run it. */
export const leftoverSchema = z.object({
  id: z.string(),
  host: z.string(),
  attempt: z.int().min(1),
  /** The host was declared dead: it owes no word, and what comes back with it is over (P1). */
  dead: z.literal(true).optional(),
});
export type Leftover = z.output<typeof leftoverSchema>;
