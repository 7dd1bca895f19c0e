import {
  leaseViewSchema,
  maintenanceBodySchema,
  pageOf,
  queueEntrySchema,
  siteViewSchema,
  stepDownViewSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { Actor } from "../core/event.ts";
import type { MaintenanceEvent } from "../peering/maintenance.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { adminRefusal, sees, unknown } from "./permission.ts";
import { page, pageQuery, type Reply, type Route, refuse, route, value } from "./route.ts";

/** The site as a whole: what it has, who waits, whom it works with. */
export function siteRoutes(backend: Backend): Route[] {
  return [
    siteRoute(backend),
    stepDownRoute(backend),
    ...maintenanceRoutes(backend),
    queueRoute(backend),
    ...leaseRoutes(backend),
  ];
}

function siteRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/site",
    id: "showSite",
    summary: "The site: leader, term, capacity, hosts and VMs by state.",
    answer: siteViewSchema,
    handle: () => loop.read((views, nowMs) => value(views.site(nowMs))),
  });
}

function stepDownRoute({ stepDown }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/site/step-down",
    id: "stepDown",
    summary: "Hands the lead over to a manager that stands by. Admins only.",
    status: 202,
    answer: stepDownViewSchema,
    handle: async ({ actor }) => {
      const forbidden = adminRefusal(actor);
      if (forbidden !== undefined) return refuse(forbidden);
      const begun = stepDown();
      return begun.ok ? value(begun.value) : refuse(begun.error);
    },
  });
}

function maintenanceRoutes({ loop }: Backend): Route[] {
  const take = (actor: Actor, begin: MaintenanceEvent["begin"]): Promise<Reply> =>
    loop.ask(
      (ticket) => ({ kind: "site-maintenance", ticket, actor, begin }),
      ANSWER_WITHIN_MS,
      (answer, views, nowMs): Reply => (answer.kind === "refused" ? refuse(answer.refusal) : value(views.site(nowMs))),
    );
  return [
    route({
      method: "POST",
      path: "/v1/site/maintenance",
      id: "announceMaintenance",
      summary: "Lends nothing new until then, and shows peers why. What runs goes on. Admins only.",
      body: maintenanceBodySchema,
      answer: siteViewSchema,
      handle: ({ actor, body: { reason, until } }) =>
        take(actor, { reason, ...(until === undefined ? {} : { untilMs: Date.parse(until) }) }),
    }),
    route({
      method: "DELETE",
      path: "/v1/site/maintenance",
      id: "endMaintenance",
      summary: "The maintenance is over: lends again. Admins only.",
      answer: siteViewSchema,
      handle: ({ actor }) => take(actor, undefined),
    }),
  ];
}

function queueRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/queue",
    id: "listQueue",
    summary: "VMs that wait, first to go first, each with its reason. `after` is a position.",
    query: pageQuery,
    answer: pageOf(queueEntrySchema),
    handle: ({ actor, query }) =>
      loop.read((views, nowMs) => {
        const entries = views.queue(nowMs).filter((entry) => sees(actor, entry.project));
        return value(
          page(entries, (entry) => positionKey(entry.position), { ...query, after: afterPosition(query.after) }),
        );
      }),
  });
}

function leaseRoutes({ loop }: Backend): Route[] {
  const list = route({
    method: "GET",
    path: "/v1/leases",
    id: "listLeases",
    summary: "Leases by id, borrowed and lent.",
    query: pageQuery,
    answer: pageOf(leaseViewSchema),
    handle: ({ actor, query }) =>
      loop.read((views, nowMs) => {
        const leases = views.leases(nowMs).filter((lease) => sees(actor, lease.project));
        return value(page(leases, (lease) => lease.id, query));
      }),
  });
  const show = route({
    method: "GET",
    path: "/v1/leases/{id}",
    id: "showLease",
    summary: "One lease.",
    params: z.strictObject({ id: z.string().max(64) }),
    answer: leaseViewSchema,
    handle: ({ actor, params }) =>
      loop.read((views, nowMs) => {
        const lease = views.leases(nowMs).find(({ id, project }) => id === params.id && sees(actor, project));
        return lease === undefined ? refuse(unknown("lease", params.id)) : value(lease);
      }),
  });
  return [list, show];
}

/** Positions as text that sorts like the numbers. */
function positionKey(position: number): string {
  return String(position).padStart(10, "0");
}

function afterPosition(after: string | undefined): string | undefined {
  return after === undefined ? undefined : after.padStart(10, "0");
}
