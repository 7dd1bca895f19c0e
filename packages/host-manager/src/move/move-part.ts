/** The part that a host has in a move: its steps begin here, and it ends here where nobody speaks of the move any more. */
import { type AttemptRecord, isLive } from "../core/state.ts";
import type { Turn } from "../core/turn.ts";
import { type MoveMark, newMoving, withMoveOver } from "./moving.ts";
import type { MoveOrder } from "./port.ts";

/**
 * Ends the part of this host in a move of which nobody may speak any more: by a delete, after its leader gave the move up
 * when this host was declared dead, or by the end of the VM's lease (B4). Either is given only for an attempt that is over for
 * good, so that nothing can follow which needs the guest.
 */
export function endPart(turn: Turn, record: AttemptRecord, { id, role }: MoveMark): "let-go" | "ending" | "moving" {
  const { vm } = record;
  const underway = turn.moves.get(vm)?.underway;
  if (role === "destination") {
    if (underway === undefined) startStep(turn, id, { step: "abandon", vm });
    return underway === undefined || underway === "abandon" ? "ending" : "moving";
  }
  if (underway === "perform") turn.effects.push({ kind: "move-cancel", vm });
  if (underway !== undefined) return "moving";
  const { move: _, ...rest } = record;
  turn.put(withMoveOver(rest, id));
  turn.moves.delete(vm);
  return "let-go";
}

/** Hands a step to the hypervisor. */
export function startStep(turn: Turn, id: string, order: MoveOrder): void {
  const moving = turn.moves.get(order.vm) ?? newMoving(id);
  const finishing = moving.finishing || order.step === "finish";
  turn.moves.set(order.vm, { ...moving, underway: order.step, finishing });
  turn.touched.set(order.vm, turn.number);
  const record = turn.attempts.get(order.vm);
  // Stored before it is carried out: a new process must not take a guest that ran here for one that never did.
  if (order.step === "finish" && record?.move !== undefined && record.move.finishing !== true)
    turn.put({ ...record, move: { ...record.move, finishing: true } });
  turn.effects.push({ kind: "move-step", id, order });
}

/**
 * Whether the guest of an attempt that came by a move has run here. One that never did is void; one that is over in any other
 * way had its time, and what its source still holds of it is older than that.
 */
export function hasComeToRun(record: AttemptRecord): boolean {
  return isLive(record) || record.state === "failed" || record.state === "gone";
}
