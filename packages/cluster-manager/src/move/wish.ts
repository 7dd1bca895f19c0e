/** Begins and ends live moves at somebody's wish. */
import { type Refusal, refusal } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import type { Round } from "../core/round.ts";
import { findForActor } from "../core/vm-verbs.ts";
import type { VmEntry } from "../core/working-set.ts";
import { beginAway, beginHome } from "./begin-between.ts";
import { driveMove } from "./drive.ts";
import { giveUp } from "./move-end.ts";
import { isGivenUp } from "./moving.ts";
import { chooseDestination, startMove, whyNotMovable } from "./start.ts";

export function takeVmMove(round: Round, event: Extract<CoreEvent, { kind: "vm-move" }>): void {
  const { turn } = round;
  const { ticket, actor } = event;
  const found = findForActor(round, actor, event.vm);
  const refused = "kind" in found ? found : refuseOrDo(round, found, event);
  if (refused !== undefined) turn.answer(ticket, { kind: "refused", refusal: refused });
  else if ("record" in found) turn.answer(ticket, { kind: "vm", vm: found.record.id });
}

function refuseOrDo(
  round: Round,
  entry: VmEntry,
  { actor, wish: asked }: Extract<CoreEvent, { kind: "vm-move" }>,
): Refusal | undefined {
  return actor.role === "admin"
    ? wish(round, entry, asked)
    : refusal("forbidden", "admins-only", `${actor.user} may not say where VMs run: ask an admin`);
}

type Wish = Extract<CoreEvent, { kind: "vm-move" }>["wish"];

function wish(round: Round, entry: VmEntry, asked: Wish): Refusal | undefined {
  if (asked.kind === "cancel") return cancel(round, entry);
  if (asked.peer !== undefined) return beginAway(round, entry, asked.peer);
  return asked.home === true ? beginHome(round, entry, asked.to) : begin(round, entry, asked.to);
}

function begin(round: Round, entry: VmEntry, to: string | undefined): Refusal | undefined {
  const { record } = entry;
  if (record.move !== undefined && isGivenUp(record.move))
    return refusal("unavailable", "giving-up", `an earlier move of ${record.name} is being given up: try again then`, {
      retryAfterMs: 1_000,
    });
  if (record.move !== undefined && (record.move.to === to || to === undefined)) return undefined;
  const obstacle = whyNotMovable(round, record);
  if (obstacle !== undefined) return obstacle;
  const chosen = chooseDestination(round, entry, to);
  if (typeof chosen !== "string") return chosen;
  startMove(round, entry, chosen);
  return undefined;
}

function cancel(round: Round, entry: VmEntry): Refusal | undefined {
  const { name, move } = entry.record;
  if (move === undefined) return refusal("conflict", "not-moving", `${name} is not being moved`);
  if (move.stage === "finishing" || move.stage === "confirming")
    return refusal("conflict", "moved", `${name} is at ${move.to} already, or nearly: move it back instead`);
  if (move.stage === "copying") giveUp(round, entry, "its move was cancelled", "resuming");
  const talk = round.set.moves.get(entry.record.id);
  // The question about the copying stays open for long; the one that ends it does not wait for that.
  if (talk?.call?.step === "perform") talk.call = undefined;
  driveMove(round, entry);
  return undefined;
}
