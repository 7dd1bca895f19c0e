import { type Command, refusal } from "@muster/protocol";
import { type AttemptRecord, type CommandAnswer, isLive } from "../core/state.ts";
import type { Turn } from "../core/turn.ts";
import type { DomainAction } from "../hypervisor/port.ts";
import { standsAs } from "./outcome.ts";

type Order = Exclude<DomainAction, "delete">;

/** What each order makes of a state that it finds: nothing left to do, something to do, or not possible. */
const ORDERS: Readonly<Record<Order, Readonly<Record<"starting" | "running" | "paused" | "stopped", Sense>>>> = {
  stop: { starting: "act", running: "act", paused: "act", stopped: "done" },
  suspend: { starting: "act", running: "act", paused: "done", stopped: "impossible" },
  resume: { starting: "done", running: "done", paused: "act", stopped: "impossible" },
  reboot: { starting: "act", running: "act", paused: "impossible", stopped: "impossible" },
};
type Sense = "done" | "act" | "impossible";

/** Takes an order about a VM that must exist here. It is stored, and acted on as soon as the VM's turn comes. */
export function orderOf(turn: Turn, command: Command, action: Order): CommandAnswer {
  const record = turn.attempts.get(command.vm);
  if (record === undefined || record.attempt !== command.attempt) return unknownVm(command, record);
  if (record.intent?.action === "delete") {
    return {
      kind: "refused",
      refusal: refusal("conflict", "being-deleted", "this VM is being deleted and takes no other order"),
    };
  }
  if (record.intent?.action === "operate") {
    return {
      kind: "refused",
      refusal: refusal("unavailable", "busy", "an operation on this VM is under way; try again when it is over", {
        retryAfterMs: 1_000,
      }),
    };
  }
  const sense = senseOf(action, record);
  if (sense === "impossible") {
    return {
      kind: "refused",
      refusal: refusal("conflict", "wrong-state", `cannot ${action} a VM that is ${record.state}; start it first`, {
        field: "action",
      }),
    };
  }
  // With another order under way the state is about to change, so that "nothing to do" cannot be said yet.
  if (sense === "act" || record.intent !== undefined) {
    turn.put({ ...record, intent: { action, command: command.id } });
    turn.waiting.set(record.vm, true);
  }
  return standsAs(command, record);
}

function senseOf(action: Order, record: AttemptRecord): Sense {
  const { state } = record;
  if (state === "starting" || state === "running" || state === "paused" || state === "stopped")
    return ORDERS[action][state];
  return action === "stop" && !isLive(record) ? "done" : "impossible";
}

/** The refusal of an order about what is not here. */
export function unknownVm(command: Command, record: AttemptRecord | undefined): CommandAnswer {
  const known = record === undefined ? "no attempt at it is known" : `attempt ${record.attempt} is`;
  return {
    kind: "refused",
    refusal: refusal(
      "item-not-found",
      "unknown-vm",
      `attempt ${command.attempt} of VM ${command.vm} is not on this host: ${known}`,
      { field: "vm" },
    ),
  };
}
