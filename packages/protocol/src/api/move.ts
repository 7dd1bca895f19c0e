/** Live moves, draining and balancing as the HTTP API and the command line show them. */
import { z } from "zod";

/**
 * What becomes of the VMs of a host that is drained: `keep` leaves them; `migrate` moves those that can be moved alive;
 * `restart` ends the others there and starts them anew elsewhere, from their image.
 */
export const drainPolicySchema = z.enum(["keep", "migrate", "restart"]);
export type DrainPolicy = z.output<typeof drainPolicySchema>;

/** How far a live move is. */
export const moveViewSchema = z.object({
  from: z.string(),
  to: z.string(),
  stage: z.enum(["copying", "finishing", "confirming", "abandoning", "resuming"]),
  doneMiB: z.int().optional(),
  totalMiB: z.int().optional(),
});
export type MoveView = z.output<typeof moveViewSchema>;

/** Most moves that one balancing may make (S2). */
export const BALANCE_MOVES_MAX = 20;

/** A move that would make the site more even: by how much the scheduler's own score says so. */
export const proposedMoveSchema = z.object({
  vm: z.string(),
  name: z.string(),
  from: z.string(),
  to: z.string(),
  gain: z.number(),
});
export type ProposedMove = z.output<typeof proposedMoveSchema>;

/** The answer: what is proposed, or, without `dryRun`, what was begun. */
export const balanceViewSchema = z.object({ dryRun: z.boolean(), moves: z.array(proposedMoveSchema) });
export type BalanceView = z.output<typeof balanceViewSchema>;
