import type { NetworkView } from "@muster/protocol";
import { networkCreateSchema, networkNameSchema, networkViewSchema, pageOf } from "@muster/protocol";
import { z } from "zod";
import type { Actor } from "../core/event.ts";
import { isGranted } from "../networks/network-choice.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { unknown } from "./permission.ts";
import { page, pageQuery, type Reply, type Route, refuse, route, value } from "./route.ts";

const networkParams = z.strictObject({ name: networkNameSchema });

/** Networks of the site. Admins make and delete them; users see those of their projects. */
export function networkRoutes(backend: Backend): Route[] {
  return [createRoute(backend), listRoute(backend), showRoute(backend), deleteRoute(backend)];
}

function sees(actor: Actor, { projects }: NetworkView): boolean {
  if (actor.role === "admin" || actor.projects.includes("*")) return true;
  return projects === "*" || actor.projects.some((project) => isGranted(projects, project));
}

function createRoute({ loop }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/networks",
    id: "createNetwork",
    summary:
      "Makes a network; what is left out follows from the rest. The same again is the same network. Admins only.",
    body: networkCreateSchema,
    status: 201,
    answer: networkViewSchema,
    handle: ({ actor, body }) =>
      loop.ask(
        (ticket) => ({ kind: "network-create", ticket, actor, create: body }),
        ANSWER_WITHIN_MS,
        (answer, views, nowMs): Reply => {
          if (answer.kind === "refused") return refuse(answer.refusal);
          const headers = { location: `/v1/networks/${body.name}` };
          return value(views.network(body.name, nowMs) ?? { name: body.name }, { status: 201, headers });
        },
      ),
  });
}

function listRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/networks",
    id: "listNetworks",
    summary: "Networks by name.",
    query: pageQuery,
    answer: pageOf(networkViewSchema),
    handle: ({ actor, query }) =>
      loop.read((views, nowMs) => {
        const seen = views.networks(nowMs).filter((network) => sees(actor, network));
        return value(page(seen, (network) => network.name, query));
      }),
  });
}

function showRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/networks/{name}",
    id: "showNetwork",
    summary: "One network, with how many addresses are left.",
    params: networkParams,
    answer: networkViewSchema,
    handle: ({ actor, params }) =>
      loop.read((views, nowMs) => {
        const network = views.network(params.name, nowMs);
        return network === undefined || !sees(actor, network)
          ? refuse(unknown("network", params.name))
          : value(network);
      }),
  });
}

function deleteRoute({ loop }: Backend): Route {
  return route({
    method: "DELETE",
    path: "/v1/networks/{name}",
    id: "deleteNetwork",
    summary: "Deletes a network; refused while VMs have an interface on it. Admins only.",
    params: networkParams,
    answer: z.object({ name: z.string() }),
    handle: ({ actor, params: { name } }) =>
      loop.ask(
        (ticket) => ({ kind: "network-delete", ticket, actor, network: name }),
        ANSWER_WITHIN_MS,
        (answer): Reply => (answer.kind === "refused" ? refuse(answer.refusal) : value({ name })),
      ),
  });
}
