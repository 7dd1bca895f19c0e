/** Empties hosts that are drained, a few VMs at a time, as the admin said: alive where that can be, or started anew. */
import { isFinal } from "@muster/protocol";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { attend, isReachable } from "../dispatch/orders.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import { whyBound } from "../operations/host-bound.ts";
import { demandFor, options } from "../queue/drain.ts";
import { schedule } from "../scheduler/schedule.ts";
import { chooseDestination, startMove, whyNotMovable } from "./start.ts";

/** VMs of one host that are ended in order to be started elsewhere, at once: the others go on meanwhile. */
const EVICTED_MAX = 4;

export function evictFrom(round: Round, host: HostEntry): void {
  const { draining, fenced, drainPolicy } = host.record;
  if (!draining || fenced || drainPolicy === undefined || drainPolicy === "keep") return;
  if (!round.set.reconciled || !isReachable(host)) return;
  const entries = [...host.placed.keys()].flatMap((vm) => round.set.vms.get(vm) ?? []);
  let evicted = entries.filter(({ record }) => record.evicted === true).length;
  for (const entry of entries) {
    const { record } = entry;
    if (isFinal(record.phase) || record.wanted === "deleted" || record.evicted === true) continue;
    if (record.move !== undefined || record.lentMove !== undefined) continue;
    const why = moveAlive(round, entry);
    if (why === undefined || why === LATER) continue;
    if (drainPolicy === "restart" && evicted < EVICTED_MAX && mayRestart(round, entry)) {
      evicted += 1;
      changeVm(round, entry, { evicted: true, reason: `${host.name} is being drained: it starts anew elsewhere` });
      attend(round, host, record.id);
    } else {
      const reason = `${host.name} is being drained, and it is still there: ${why}`.slice(0, 500);
      changeVm(round, entry, { reason, heldBack: true });
    }
  }
}

/** It is drained no more: what was said of its VMs because of that holds no longer. */
export function forgetEviction(round: Round, { placed }: HostEntry): void {
  for (const vm of placed.keys()) {
    const entry = round.set.vms.get(vm);
    if (entry?.record.heldBack === true) changeVm(round, entry, { reason: undefined, heldBack: undefined });
  }
}

/** Not an obstacle: other moves come first. */
const LATER = "later";

/** Begins the move, or says why there is none; `undefined` where it was begun. */
function moveAlive(round: Round, entry: VmEntry): string | undefined {
  const { phase, wanted } = entry.record;
  if (phase === "stopped" && wanted === "stopped")
    return "it is stopped, and its disk is there: started, it is moved; or delete it";
  const obstacle = whyNotMovable(round, entry.record);
  if (obstacle !== undefined)
    return obstacle.reason === "moves-limit" || obstacle.reason === "busy" ? LATER : obstacle.message;
  const chosen = chooseDestination(round, entry);
  if (typeof chosen !== "string") return chosen.message;
  startMove(round, entry, chosen);
  return undefined;
}

/** It is ended here only when another host could take it now. */
function mayRestart(round: Round, entry: VmEntry): boolean {
  const { record } = entry;
  // What would be lost with it is its user's.
  if (whyBound(record) !== undefined) return false;
  const settled = record.phase === "running" || record.phase === "placing";
  if (!settled || record.wanted !== "running") return false;
  return schedule(demandFor(round, entry), options(round), round.weights).kind === "host";
}
