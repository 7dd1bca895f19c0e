import type { Clock } from "@muster/base";
import { refusal } from "@muster/protocol";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from "fastify";
import type { Logger } from "pino";
import type { Actor } from "../core/event.ts";
import { NotServingError } from "../leadership/not-serving.ts";
import type { Backend } from "./backend.ts";
import { backupRoute } from "./backup-routes.ts";
import type { BearerTokens } from "./bearer-tokens.ts";
import { consoleRoutes } from "./console-routes.ts";
import { EventStream } from "./event-stream.ts";
import { hostRoutes } from "./host-routes.ts";
import { CONTENT_PATH, mountImageContent } from "./image-content.ts";
import { imageRoutes } from "./image-routes.ts";
import { ledgerRoutes } from "./ledger-routes.ts";
import { logRoutes } from "./log-routes.ts";
import type { Metrics } from "./metrics.ts";
import { moveRoutes } from "./move-routes.ts";
import { networkRoutes } from "./network-routes.ts";
import { openApi } from "./open-api.ts";
import { operationRoutes } from "./operation-routes.ts";
import { peerRoutes } from "./peer-routes.ts";
import { policyRoutes } from "./policy-routes.ts";
import { sendProblem, transportProblem } from "./problem-reply.ts";
import type { Route } from "./route.ts";
import { siteRoutes } from "./site-routes.ts";
import { storeRoutes } from "./store-routes.ts";
import { vmRoutes } from "./vm-routes.ts";

export type ApiOptions = {
  readonly clock: Clock;
  readonly backend: Backend;
  readonly tokens: BearerTokens;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Version of the product, for the description of the API. */
  readonly version: string;
};

/** Largest body taken. */
const BODY_BYTES_MAX = 64 * 1024;

/** The HTTP API of a leader. It is served by a `FrontDoor` through `routing`; `close` ends its streams. */
export function createApi(options: ApiOptions): { readonly server: FastifyInstance; readonly events: EventStream } {
  const { backend, clock, log } = options;
  const server = fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    routerOptions: { maxParamLength: 256 },
    frameworkErrors: (error, _request, reply) => answerFault(reply, error, log),
  });
  takeJsonOnly(server);
  const events = new EventStream({ clock, ring: backend.events });
  const actors = new WeakMap<FastifyRequest, Actor>();
  guard(server, options, actors);
  const routes = [...siteRoutes(backend), ...storeRoutes(backend), ...hostRoutes(backend), ...vmRoutes(backend)].concat(
    operationRoutes(backend),
    imageRoutes(backend),
    networkRoutes(backend),
    peerRoutes(backend),
    policyRoutes(backend),
    ledgerRoutes(backend),
    logRoutes(backend),
    consoleRoutes(backend),
    moveRoutes(backend),
  );
  for (const route of routes) mount(server, route, actors);
  mountPlain(server, options, openApi(routes, options.version));
  mountImageContent({ server, backend, actorOf: (request) => actors.get(request) });
  server.get("/v1/events", (request, reply) => events.serve(request, reply, actorOf(actors, request)));
  const backup = backupRoute(backend, log);
  server.get("/v1/backup", (request, reply) => backup(reply, actorOf(actors, request)));
  server.setNotFoundHandler((request, reply) => {
    const message = `there is no ${request.method} ${request.url.slice(0, 200)}; see /v1/openapi.json`;
    return sendProblem(reply, refusal("item-not-found", "unknown-route", message));
  });
  server.setErrorHandler((error, _request, reply) => answerFault(reply, error, log));
  server.addHook("preClose", async () => events.close());
  observe(server, options);
  return { server, events };
}

/** No parser but JSON, and none that trips over an empty body: which body a route takes, its schema says. */
function takeJsonOnly(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("application/json", { parseAs: "string" }, (_request, body, done) => {
    if (body === "") return done(null, undefined);
    try {
      return done(null, JSON.parse(String(body)));
    } catch {
      return done(Object.assign(new Error("the body is no JSON"), { statusCode: 400, code: "BODY_NO_JSON" }));
    }
  });
}

/** Paths that answer without a token: they tell nothing about users, projects or VMs by name. */
const OPEN_PATHS = new Set(["/v1/openapi.json", "/healthz", "/readyz", "/metrics"]);

function guard(server: FastifyInstance, { tokens }: ApiOptions, actors: WeakMap<FastifyRequest, Actor>): void {
  server.addHook("onRequest", async (request, reply) => {
    if (request.routeOptions.url === undefined || OPEN_PATHS.has(request.routeOptions.url)) return undefined;
    const actor = tokens(request.headers.authorization);
    // A host comes with a ticket, which is looked at where the content is.
    if (actor === undefined && request.method === "GET" && request.routeOptions.url === CONTENT_PATH) return undefined;
    if (actor === undefined) {
      const given = request.headers.authorization !== undefined;
      reply.header("www-authenticate", `Bearer realm="muster"${given ? ', error="invalid_token"' : ""}`);
      const [reason, message] = given
        ? ["invalid-token", "this token is not known here; use one from the site's tokens file"]
        : ["no-token", "send a token: Authorization: Bearer <token>"];
      return sendProblem(reply, refusal("not-authorized", reason, message));
    }
    actors.set(request, actor);
    return undefined;
  });
}

function actorOf(actors: WeakMap<FastifyRequest, Actor>, request: FastifyRequest): Actor {
  const actor = actors.get(request);
  if (actor === undefined) throw new Error("a guarded route was reached without an actor");
  return actor;
}

function mount(server: FastifyInstance, route: Route, actors: WeakMap<FastifyRequest, Actor>): void {
  server.route({
    method: route.method,
    url: route.path.replace(/\{(\w+)\}/g, ":$1"),
    handler: async (request, reply) => {
      const key = request.headers["idempotency-key"];
      const answer = await route.run({
        actor: actorOf(actors, request),
        params: request.params,
        query: { ...(request.query as object) },
        body: request.body ?? undefined,
        idempotencyKey: Array.isArray(key) ? key.join(",") : key,
      });
      if (answer.kind === "refused") return sendProblem(reply, answer.refusal, { faults: answer.faults ?? [] });
      return reply
        .code(answer.status ?? route.status)
        .headers(answer.headers ?? {})
        .send(answer.value);
    },
  });
}

function mountPlain(server: FastifyInstance, { backend, metrics }: ApiOptions, description: object): void {
  server.get("/v1/openapi.json", async () => description);
  server.get("/healthz", async () => ({ status: "ok" }));
  server.get("/readyz", async (_request, reply) => {
    const reasons = await backend.notReady();
    if (reasons.length === 0) return { status: "ready" };
    return sendProblem(reply, refusal("unavailable", "not-ready", reasons.join("; "), { retryAfterMs: 1_000 }));
  });
  server.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
}

function observe(server: FastifyInstance, { metrics }: ApiOptions): void {
  server.addHook("onResponse", async (request, reply) => {
    metrics.answered({
      method: request.method,
      route: request.routeOptions.url ?? "unknown",
      status: reply.statusCode,
      tookMs: reply.elapsedTime,
    });
  });
}

function answerFault(reply: FastifyReply, error: unknown, log: Logger): FastifyReply {
  const fault = error instanceof Error ? error : new Error(String(error));
  if (fault instanceof NotServingError) return sendProblem(reply, fault.refusal);
  if ("code" in fault && fault.code === "BODY_NO_JSON")
    return sendProblem(reply, refusal("bad-request", "malformed-json", "the body is no valid JSON"));
  const known = transportProblem(Object.assign(fault, { code: "code" in fault ? String(fault.code) : "" }) as never);
  if (known !== undefined) return sendProblem(reply, known.refusal, { status: known.status });
  log.error({ error: fault.stack }, "a request met a fault of ours");
  return sendProblem(reply, refusal("internal", "manager-fault", "this manager met a fault of its own; see its log"));
}
