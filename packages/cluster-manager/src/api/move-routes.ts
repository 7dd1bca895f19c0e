import { BALANCE_MOVES_MAX, balanceViewSchema, hostNameSchema, siteDomainSchema, vmViewSchema } from "@muster/protocol";
import { z } from "zod";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { adminRefusal } from "./permission.ts";
import { type Reply, type Route, refuse, route, value } from "./route.ts";
import { changeVm } from "./vm-routes.ts";

const vmParams = z.strictObject({ id: z.string().min(1).max(63) });

/** Live moves: where VMs run is for admins to say. */
export function moveRoutes(backend: Backend): Route[] {
  return [migrateRoute(backend), cancelRoute(backend), balanceRoute(backend)];
}

function migrateRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/vms/{id}/migrate",
    id: "migrateVm",
    summary:
      "Moves a running VM alive: to `host`, or to the best one; to `peer`, under a lease; or `home` from the peer at which it runs. " +
      "Answered when the move is stored.",
    params: vmParams,
    query: z
      .strictObject({
        host: hostNameSchema.optional(),
        peer: siteDomainSchema.optional(),
        home: z.literal("true").optional(),
      })
      .refine(({ host, home, peer }) => peer === undefined || (host === undefined && home === undefined), {
        message: "goes with neither host nor home",
        path: ["peer"],
      }),
    status: 202,
    answer: vmViewSchema,
    handle: ({ actor, params, query }) =>
      changeVm(backend, actor, params.id, (ticket, vm) => ({
        kind: "vm-move",
        ticket,
        actor,
        vm,
        wish: { kind: "begin", to: query.host, peer: query.peer, home: query.home === "true" ? true : undefined },
      })),
  });
}

function cancelRoute(backend: Backend): Route {
  return route({
    method: "DELETE",
    path: "/v1/vms/{id}/migrate",
    id: "cancelMigration",
    summary: "Ends the move of a VM, which goes on where it is.",
    params: vmParams,
    status: 202,
    answer: vmViewSchema,
    handle: ({ actor, params }) =>
      changeVm(backend, actor, params.id, (ticket, vm) => ({
        kind: "vm-move",
        ticket,
        actor,
        vm,
        wish: { kind: "cancel" },
      })),
  });
}

function balanceRoute({ loop }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/site/balance",
    id: "balanceSite",
    summary: "Moves VMs so that the hosts are more evenly used; with dryRun=true it only says which.",
    query: z.strictObject({
      dryRun: z.enum(["true", "false"]).default("false"),
      movesMax: z.coerce.number("must be a whole number").int().min(1).max(BALANCE_MOVES_MAX).default(4),
    }),
    status: 202,
    answer: balanceViewSchema,
    async handle({ actor, query }): Promise<Reply> {
      const forbidden = adminRefusal(actor);
      if (forbidden !== undefined) return refuse(forbidden);
      const { movesMax } = query;
      return loop.ask(
        (ticket) => ({ kind: "site-balance", ticket, actor, dryRun: query.dryRun === "true", movesMax }),
        ANSWER_WITHIN_MS,
        (answer) => {
          if (answer.kind === "refused") return refuse(answer.refusal);
          if (answer.kind !== "balance") throw new Error(`balancing was answered with ${answer.kind}`);
          return value(answer.view, { status: 202 });
        },
      );
    },
  });
}
