import { setImmediate as pause } from "node:timers/promises";
import { type SimulatedSite, simulatePolicy } from "@muster/broker";
import {
  type LeaseView,
  leaseRevokeSchema,
  leaseViewSchema,
  lineSchema,
  policyExplanationSchema,
  policyQuestionSchema,
  policySimulationSchema,
  type RecordedRequest,
  type Refusal,
  refusal,
  type SimulationView,
  simulationViewSchema,
  siteDomainSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { CoreViews } from "../core/core.ts";
import type { Answer } from "../core/effect.ts";
import type { CoreEvent } from "../core/event.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { adminRefusal, unknown } from "./permission.ts";
import { type Reply, type Route, refuse, route, value } from "./route.ts";

const peerParams = z.strictObject({ domain: z.string().max(253) });
const leaseParams = z.strictObject({ id: z.string().min(1).max(64) });
/** Where the id of a lease alone is ambiguous. */
const leaseQuery = z.strictObject({ peer: siteDomainSchema.optional() });
const decisionSchema = z.strictObject({ reason: lineSchema.max(200).optional() });

/** What our policy for a peer grants, and what admins decide on single leases. */
export function policyRoutes(backend: Backend): Route[] {
  return [
    explainRoute(backend),
    simulateRoute(backend),
    decideRoute(backend, "approve"),
    decideRoute(backend, "deny"),
    revokeRoute(backend),
  ];
}

function explainRoute({ loop }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/peers/{domain}/policy/explain",
    id: "explainPolicy",
    summary:
      "Which rule of our policy grants or refuses such a request of the peer now, with its figures. Admins only.",
    params: peerParams,
    body: policyQuestionSchema,
    answer: policyExplanationSchema,
    async handle({ actor, params, body }): Promise<Reply> {
      const forbidden = adminRefusal(actor);
      if (forbidden !== undefined) return refuse(forbidden);
      return loop.read((views, nowMs) => {
        const explained = views.explainPolicy(params.domain, body, nowMs);
        return explained === undefined ? refuse(unknown("peer", params.domain)) : value(explained);
      });
    },
  });
}

function simulateRoute({ loop }: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/peers/{domain}/policy/simulate",
    id: "simulatePolicy",
    summary:
      "What our policy would have granted of recorded requests, on a clock of their own: the site's whole room, taken by nobody else. Admins only.",
    params: peerParams,
    body: policySimulationSchema,
    answer: simulationViewSchema,
    async handle({ actor, params, body }): Promise<Reply> {
      const forbidden = adminRefusal(actor);
      if (forbidden !== undefined) return refuse(forbidden);
      const basis: { found?: Omit<SimulatedSite, "requests"> | undefined } = {};
      await loop.read((views, nowMs) => {
        basis.found = views.policyBasis(params.domain, nowMs);
        return value({});
      });
      if (basis.found === undefined) return refuse(unknown("peer", params.domain));
      const outcome = await simulate({ ...basis.found, requests: body.requests });
      return "kind" in outcome ? refuse(outcome) : value(outcome);
    },
  });
}

/** Step by step, with the site's own work in between. */
async function simulate(
  site: SimulatedSite & { readonly requests: readonly RecordedRequest[] },
): Promise<SimulationView | Refusal> {
  const steps = simulatePolicy(site);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await pause();
  }
}

function decideRoute(backend: Backend, verb: "approve" | "deny"): Route {
  return route({
    method: "POST",
    path: `/v1/leases/{id}/${verb}`,
    id: `${verb}Lease`,
    summary: `${verb === "approve" ? "Approves" : "Denies"} a peer's request that waits for an admin. Admins only.`,
    params: leaseParams,
    query: leaseQuery,
    body: decisionSchema,
    status: 202,
    answer: leaseViewSchema,
    handle: ({ actor, params, query, body }) =>
      changeLease(backend, (ticket) => ({
        kind: "lease-decide",
        ticket,
        actor,
        lease: params.id,
        peer: query.peer,
        approve: verb === "approve",
        reason: body.reason,
      })),
  });
}

function revokeRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/leases/{id}/revoke",
    id: "revokeLease",
    summary: "Ends a lease that we lend, at once or with notice; its borrower is told the reason. Admins only.",
    params: leaseParams,
    query: leaseQuery,
    body: leaseRevokeSchema,
    status: 202,
    answer: leaseViewSchema,
    handle: ({ actor, params, query, body }) =>
      changeLease(backend, (ticket) => ({
        kind: "lease-revoke",
        ticket,
        actor,
        lease: params.id,
        peer: query.peer,
        noticeMs: body.noticeMs,
        reason: body.reason,
      })),
  });
}

function changeLease({ loop }: Backend, event: (ticket: number) => CoreEvent): Promise<Reply> {
  return loop.ask(event, ANSWER_WITHIN_MS, (answer, views, nowMs) => {
    if (answer.kind === "refused") return refuse(answer.refusal);
    const view = lentBy(views, answer, nowMs);
    return view === undefined ? refuse(OVER) : value(view, { status: 202 });
  });
}

function lentBy(views: CoreViews, answer: Answer, nowMs: number): LeaseView | undefined {
  if (answer.kind !== "lease") throw new Error(`a lease was answered with ${answer.kind}`);
  return views.lent(answer.peer, answer.lease, nowMs);
}

const OVER = refusal("item-not-found", "lease-over", "nothing is left of that lease");
