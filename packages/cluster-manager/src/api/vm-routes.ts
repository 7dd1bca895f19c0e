import { randomUUID } from "node:crypto";
import { decode } from "@muster/base";
import {
  explanationSchema,
  isFinal,
  pageOf,
  type RequestView,
  refusal,
  requestIdSchema,
  requestViewSchema,
  type VmView,
  vmActionSchema,
  vmCreateSchema,
  vmPhaseSchema,
  vmViewSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { CoreViews } from "../core/core.ts";
import type { Answer } from "../core/effect.ts";
import type { Actor, CoreEvent } from "../core/event.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { changeRefusal, findVm, sees, unknown } from "./permission.ts";
import { page, pageQuery, type Reply, type Route, refuse, route, value } from "./route.ts";

/** An id, or a name where it is unique. */
const vmParams = z.strictObject({ id: z.string().min(1).max(63) });
const dryRunQuery = z.strictObject({ dryRun: z.enum(["true", "false"]).default("false") });

/** VMs and the requests that made them. */
export function vmRoutes(backend: Backend): Route[] {
  return [createRoute(backend), listRoute(backend), showRoute(backend), whyRoute(backend), actionRoute(backend)].concat(
    deleteRoute(backend),
    requestRoute(backend),
  );
}

function createRoute({ loop, term }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/vms",
    id: "createVm",
    summary:
      "Asks for VMs. Idempotency-Key is the id of the request: the same key with the same body is the same request. " +
      "With dryRun=true nothing is changed and the answer (200) is an Explanation of what would happen.",
    query: dryRunQuery,
    body: vmCreateSchema,
    status: 202,
    answer: requestViewSchema,
    async handle({ actor, query, body, idempotencyKey }) {
      const forbidden = changeRefusal(actor, body.project);
      if (forbidden !== undefined) return refuse(forbidden);
      if (query.dryRun === "true")
        return loop.read((views, nowMs) => value(views.dryRun(actor, body, nowMs), { status: 200 }));
      const requestId = decode(requestIdSchema, idempotencyKey ?? randomUUID());
      if (!requestId.ok) {
        const [fault] = requestId.error;
        return refuse(
          refusal("bad-request", "invalid-idempotency-key", `Idempotency-Key ${fault?.message ?? "is not valid"}`, {
            field: "Idempotency-Key",
          }),
        );
      }
      return loop.ask(
        (ticket) => ({ kind: "request", ticket, actor, requestId: requestId.value, create: body }),
        ANSWER_WITHIN_MS,
        (answer, views): Reply => {
          if (answer.kind === "refused") return refuse(answer.refusal);
          if (answer.kind !== "request") throw new Error(`a request was answered with ${answer.kind}`);
          const view: RequestView = { request: answer.requestId, term, vms: vmsOf(views, answer.vms) };
          const headers = {
            location: `/v1/requests/${answer.requestId}`,
            "idempotency-replayed": String(answer.replay),
          };
          return value(view, { status: 202, headers });
        },
      );
    },
  });
}

function listRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/vms",
    id: "listVms",
    summary: "VMs by id, oldest first; of one project, phase or name where asked.",
    query: pageQuery.extend({
      project: z.string().max(63).optional(),
      phase: vmPhaseSchema.optional(),
      name: z.string().max(63).optional(),
      /** `false`: only VMs that are not over yet; `true`: only those that are. */
      final: z.enum(["true", "false"]).optional(),
    }),
    answer: pageOf(vmViewSchema),
    handle: ({ actor, query }) =>
      loop.read((views) => {
        const wanted = views
          .vms()
          .filter(
            (vm) =>
              sees(actor, vm.project) &&
              (query.project === undefined || vm.project === query.project) &&
              (query.phase === undefined || vm.phase === query.phase) &&
              (query.name === undefined || vm.name === query.name) &&
              (query.final === undefined || String(isFinal(vm.phase)) === query.final),
          );
        return value(page(wanted, (vm) => vm.id, query));
      }),
  });
}

function showRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/vms/{id}",
    id: "showVm",
    summary: "One VM, by id or by a name that is unique.",
    params: vmParams,
    answer: vmViewSchema,
    handle: ({ actor, params }) =>
      loop.read((views) => {
        const found = findVm(views, actor, params.id);
        return "kind" in found ? refuse(found) : value(found);
      }),
  });
}

function whyRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/vms/{id}/why",
    id: "explainVm",
    summary: "Why a VM is where it is, or what it waits for, host by host and peer by peer.",
    params: vmParams,
    answer: explanationSchema,
    handle: ({ actor, params }) =>
      loop.read((views, nowMs) => {
        const found = findVm(views, actor, params.id);
        if ("kind" in found) return refuse(found);
        const explanation = views.why(found.id, nowMs);
        return explanation === undefined ? refuse(unknown("vm", params.id)) : value(explanation);
      }),
  });
}

function actionRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/vms/{id}/{action}",
    id: "actOnVm",
    summary:
      "Starts, stops, suspends, resumes or reboots a VM; answered when the wish is stored. " +
      "A stop with force=true does not ask the guest, but cuts it off.",
    params: vmParams.extend({ action: vmActionSchema }),
    query: z.strictObject({ force: z.enum(["true", "false"]).default("false") }),
    status: 202,
    answer: vmViewSchema,
    async handle({ actor, params, query }) {
      const force = query.force === "true";
      if (force && params.action !== "stop")
        return refuse(refusal("bad-request", "invalid-fields", "force: only a stop is forced", { field: "force" }));
      return changeVm(backend, actor, params.id, (ticket, vm) => ({
        kind: "vm-action",
        ticket,
        actor,
        vm,
        action: params.action,
        ...(force ? { force } : {}),
      }));
    },
  });
}

function deleteRoute(backend: Backend): Route {
  return route({
    method: "DELETE",
    path: "/v1/vms/{id}",
    id: "deleteVm",
    summary: "Ends a VM and removes everything of it; answered when the wish is stored.",
    params: vmParams,
    status: 202,
    answer: vmViewSchema,
    handle: ({ actor, params }) =>
      changeVm(backend, actor, params.id, (ticket, vm) => ({ kind: "vm-delete", ticket, actor, vm })),
  });
}

function requestRoute({ loop, term }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/requests/{id}",
    id: "showRequest",
    summary: "A request by the id its client chose, with its VMs.",
    params: z.strictObject({ id: requestIdSchema }),
    answer: requestViewSchema,
    handle: ({ actor, params }) =>
      loop.read((views) => {
        const vms = views.request(params.id)?.vms.filter((vm) => sees(actor, vm.project)) ?? [];
        return vms.length === 0 ? refuse(unknown("request", params.id)) : value({ request: params.id, term, vms });
      }),
  });
}

export async function changeVm(
  { loop }: Backend,
  actor: Actor,
  idOrName: string,
  event: (ticket: number, vm: string) => CoreEvent,
): Promise<Reply> {
  const found = await loop.read((views) => findVm(views, actor, idOrName));
  if ("kind" in found) return refuse(found);
  const forbidden = changeRefusal(actor, found.project);
  if (forbidden !== undefined) return refuse(forbidden);
  return loop.ask(
    (ticket) => event(ticket, found.id),
    ANSWER_WITHIN_MS,
    (answer, views) => vmReply(answer, views, found),
  );
}

function vmReply(answer: Answer, views: CoreViews, before: VmView): Reply {
  if (answer.kind === "refused") return refuse(answer.refusal);
  const [now] = vmsOf(views, [before.id]);
  return value(now ?? before, { status: 202 });
}

function vmsOf(views: CoreViews, ids: readonly string[]): VmView[] {
  return ids.flatMap((id) => {
    const view = views.vm(id);
    return view === undefined || view === "ambiguous" ? [] : [view];
  });
}
