import { drainPolicySchema, enrolmentSchema, hostNameSchema, hostViewSchema, pageOf } from "@muster/protocol";
import { z } from "zod";
import { ENROLMENT_SECONDS_MAX } from "../config.ts";
import type { Actor, CoreEvent } from "../core/event.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { adminRefusal, unknown } from "./permission.ts";
import { page, pageQuery, type Reply, type Route, refuse, route, value } from "./route.ts";

const hostParams = z.strictObject({ name: hostNameSchema });
const hostActionSchema = z.enum(["drain", "undrain", "fence"]);

/** Body of `POST /v1/hosts`. */
export const hostEnrolSchema = z.strictObject({
  name: hostNameSchema,
  /** How long the token may wait for its host; as configured if not given. */
  ttlSeconds: z.int().min(1).max(ENROLMENT_SECONDS_MAX).optional(),
});

/** Hosts of the site. Everything that changes them is for admins. */
export function hostRoutes(backend: Backend): Route[] {
  return [listRoute(backend), showRoute(backend), enrolRoute(backend), actionRoute(backend), removeRoute(backend)];
}

function listRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/hosts",
    id: "listHosts",
    summary: "Hosts by name.",
    query: pageQuery,
    answer: pageOf(hostViewSchema),
    handle: ({ query }) => loop.read((views, nowMs) => value(page(views.hosts(nowMs), (host) => host.name, query))),
  });
}

function showRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/hosts/{name}",
    id: "showHost",
    summary: "One host.",
    params: hostParams,
    answer: hostViewSchema,
    handle: ({ params }) =>
      loop.read((views, nowMs) => {
        const host = views.host(params.name, nowMs);
        return host === undefined ? refuse(unknown("host", params.name)) : value(host);
      }),
  });
}

function enrolRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/hosts",
    id: "enrolHost",
    summary: "Lets a host in: makes a single-use token and says the one command to run on the host. May be repeated.",
    body: hostEnrolSchema,
    status: 201,
    answer: enrolmentSchema,
    async handle({ actor, body }) {
      const added = await changeHost(backend, actor, body.name, (ticket) => ({
        kind: "host-add",
        ticket,
        actor,
        host: body.name,
      }));
      if (added.kind === "refused") return added;
      const enrolment = await backend.enrolmentOf(body.name, body.ttlSeconds);
      return enrolment.ok ? value(enrolment.value, { status: 201 }) : refuse(enrolment.error);
    },
  });
}

function actionRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/hosts/{name}/{action}",
    id: "actOnHost",
    summary:
      "Drains a host, takes it back, or vouches that it is dead (fence), which lets its VMs start elsewhere; with agent=true " +
      "the host's fence agent switches it off and has to confirm that. `policy` says what becomes of the VMs of a host that is drained.",
    params: hostParams.extend({ action: hostActionSchema }),
    query: z.strictObject({
      policy: drainPolicySchema.default("migrate"),
      agent: z.enum(["true", "false"]).default("false"),
    }),
    answer: hostViewSchema,
    handle: ({ actor, params: { name: host, action }, query: { policy, agent } }) => {
      if (action === "fence" && agent === "true") return fenceByAgent(backend, actor, host);
      return changeHost(backend, actor, host, (ticket) =>
        action === "fence"
          ? { kind: "host-fence", ticket, actor, host }
          : { kind: "host-drain", ticket, actor, host, draining: action === "drain", policy },
      );
    },
  });
}

/** The leader switches it off, has the agent confirm it, and only then declares it dead (P1). */
async function fenceByAgent({ fence, loop }: Backend, actor: Actor, host: string): Promise<Reply> {
  const forbidden = adminRefusal(actor);
  if (forbidden !== undefined) return refuse(forbidden);
  const fenced = await fence(host);
  if (!fenced.ok) return refuse(fenced.error);
  return loop.read((views, nowMs) => value(views.host(host, nowMs) ?? { name: host }));
}

function removeRoute(backend: Backend): Route {
  return route({
    method: "DELETE",
    path: "/v1/hosts/{name}",
    id: "removeHost",
    summary: "Takes a host out of the site, with its account.",
    params: hostParams,
    answer: z.object({ name: z.string() }),
    handle: ({ actor, params: { name: host } }) =>
      changeHost(backend, actor, host, (ticket) => ({ kind: "host-remove", ticket, actor, host })),
  });
}

async function changeHost(
  { loop }: Backend,
  actor: Actor,
  host: string,
  event: (ticket: number) => CoreEvent,
): Promise<Reply> {
  const forbidden = adminRefusal(actor);
  if (forbidden !== undefined) return refuse(forbidden);
  return loop.ask(event, ANSWER_WITHIN_MS, (answer, views, nowMs) =>
    answer.kind === "refused" ? refuse(answer.refusal) : value(views.host(host, nowMs) ?? { name: host }),
  );
}
