import type { VmRecord } from "../core/records.ts";
import type { WorkingSet } from "../core/working-set.ts";
import { holdOf } from "./move-end.ts";
import { newTalk } from "./move-talk.ts";

/** A move that another leader began: its room is kept, and it goes on as soon as its hosts are heard. */
export function takeUpMove(set: WorkingSet, { id, spec, move, leftover }: VmRecord): void {
  if (move === undefined && leftover === undefined) return;
  set.moves.set(id, newTalk());
  const resting = move?.stage === "resuming" && set.hosts.get(move.from)?.record.fenced === true;
  if (move !== undefined && move.stage !== "confirming" && !resting) set.hosts.get(move.to)?.hold(holdOf(move), spec);
}
