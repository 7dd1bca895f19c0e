/** The part that a host has in a move: its steps begin here, and it ends here where nobody speaks of the move any more. */
import type { AttemptRecord } from "../core/state.ts";
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
  turn.effects.push({ kind: "move-step", id, order });
}
