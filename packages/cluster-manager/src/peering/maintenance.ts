/** Announced maintenance: nothing new is lent while it lasts, and peers see why and until when. What runs goes on. */
import { type Refusal, refusal, type SiteView } from "@muster/protocol";
import { z } from "zod";
import type { Actor, Ticket } from "../core/event.ts";
import type { Round } from "../core/round.ts";

/** Stored under this one key. */
export const MAINTENANCE_KEY = "maintenance/site";
/** Longest announcement; after it the admin says it again. */
const MAINTENANCE_MS_MAX = 366 * 24 * 3_600_000;

export const maintenanceRecordSchema = z.object({
  reason: z.string().min(1),
  untilMs: z.number().optional(),
  sinceMs: z.number(),
});
export type MaintenanceRecord = z.output<typeof maintenanceRecordSchema>;

export type MaintenanceEvent = {
  readonly kind: "site-maintenance";
  readonly ticket: Ticket;
  readonly actor: Actor;
  /** Absent: it is over. */
  readonly begin?: { readonly reason: string; readonly untilMs?: number | undefined } | undefined;
};

/** The maintenance that lasts now. */
export function maintenanceNow({ set }: Pick<Round, "set">, nowMs: number): MaintenanceRecord | undefined {
  const { maintenance } = set;
  return maintenance?.untilMs !== undefined && maintenance.untilMs <= nowMs ? undefined : maintenance;
}

export function maintenanceView(record: MaintenanceRecord | undefined): Pick<SiteView, "maintenance"> {
  if (record === undefined) return {};
  const { reason, untilMs, sinceMs } = record;
  const until = untilMs === undefined ? {} : { until: new Date(untilMs).toISOString() };
  return { maintenance: { reason, ...until, since: new Date(sinceMs).toISOString() } };
}

export function takeMaintenance(round: Round, { ticket, actor, begin }: MaintenanceEvent): void {
  const { set, turn, policy } = round;
  const refused = refuse(round, actor, begin);
  if (refused !== undefined) {
    turn.answer(ticket, { kind: "refused", refusal: refused });
    return;
  }
  const before = maintenanceNow(round, turn.nowMs);
  if (begin !== undefined) {
    set.maintenance = { ...begin, sinceMs: before?.sinceMs ?? turn.nowMs };
    turn.put(MAINTENANCE_KEY, set.maintenance);
    const until = begin.untilMs === undefined ? "" : ` until ${new Date(begin.untilMs).toISOString()}`;
    turn.event("site", policy.domain, `lends nothing new${until}: ${begin.reason}`);
  } else if (set.maintenance !== undefined) {
    set.maintenance = undefined;
    turn.delete(MAINTENANCE_KEY);
    if (before !== undefined) turn.event("site", policy.domain, "the maintenance is over: it lends again");
  }
  turn.effect({ kind: "contact-changed", contact: { kind: "site" } });
  turn.answer(ticket, { kind: "site" });
}

function refuse({ turn }: Round, actor: Actor, begin: MaintenanceEvent["begin"]): Refusal | undefined {
  if (actor.role !== "admin")
    return refusal("forbidden", "admin-only", `${actor.user} may not announce maintenance: ask an admin`);
  const aheadMs = begin?.untilMs === undefined ? 1 : begin.untilMs - turn.nowMs;
  if (aheadMs > 0 && aheadMs <= MAINTENANCE_MS_MAX) return undefined;
  const message = aheadMs <= 0 ? "the end lies in the past" : "the end is more than a year away";
  return refusal("bad-request", "bad-until", message, { field: "until" });
}
