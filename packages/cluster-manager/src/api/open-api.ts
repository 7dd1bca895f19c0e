import {
  acceptanceViewSchema,
  candidateViewSchema,
  enrolmentSchema,
  eventViewSchema,
  explanationSchema,
  hostViewSchema,
  imageAddSchema,
  imageViewSchema,
  invitationViewSchema,
  leaseViewSchema,
  ledgerBalanceSchema,
  ledgerEntrySchema,
  ledgerVerificationSchema,
  lendChangeSchema,
  networkCreateSchema,
  networkViewSchema,
  peerAcceptSchema,
  peerInviteSchema,
  peerPolicyChangeSchema,
  peerPolicySchema,
  peerViewSchema,
  problemSchema,
  queueEntrySchema,
  requestViewSchema,
  resourcesSchema,
  siteKeyViewSchema,
  siteViewSchema,
  vmCreateSchema,
  vmOperationSchema,
  vmViewSchema,
} from "@muster/protocol";
import { z } from "zod";
import { BACKUP_OPERATION } from "./backup-routes.ts";
import { hostEnrolSchema } from "./host-routes.ts";
import { contentOperations } from "./image-content.ts";
import type { Route } from "./route.ts";

const ANSWERS = {
  Acceptance: acceptanceViewSchema,
  Candidate: candidateViewSchema,
  Enrolment: enrolmentSchema,
  Event: eventViewSchema,
  Explanation: explanationSchema,
  Host: hostViewSchema,
  Image: imageViewSchema,
  Invitation: invitationViewSchema,
  Lease: leaseViewSchema,
  LedgerBalance: ledgerBalanceSchema,
  LedgerEntry: ledgerEntrySchema,
  LedgerVerification: ledgerVerificationSchema,
  Network: networkViewSchema,
  Peer: peerViewSchema,
  PeerPolicy: peerPolicySchema,
  Problem: problemSchema,
  QueueEntry: queueEntrySchema,
  Request: requestViewSchema,
  Resources: resourcesSchema,
  Site: siteViewSchema,
  SiteKey: siteKeyViewSchema,
  Vm: vmViewSchema,
};
const BODIES = {
  HostEnrol: hostEnrolSchema,
  ImageAdd: imageAddSchema,
  LendChange: lendChangeSchema,
  NetworkCreate: networkCreateSchema,
  PeerAccept: peerAcceptSchema,
  PeerInvite: peerInviteSchema,
  PeerPolicyChange: peerPolicyChangeSchema,
  VmCreate: vmCreateSchema,
  VmOperation: vmOperationSchema,
};

type Json = { readonly [key: string]: unknown };

/** The description of the API (OpenAPI 3.1), made from the schemas that check what is sent. */
export function openApi(routes: readonly Route[], version: string): Json {
  const answers = registryOf(ANSWERS);
  const bodies = registryOf(BODIES);
  const paths: Record<string, object> = {};
  for (const route of routes) {
    const operations = { [route.method.toLowerCase()]: operation(route, answers, bodies) };
    paths[route.path] = { ...paths[route.path], ...operations };
  }
  paths["/v1/events"] = { get: EVENTS };
  paths["/v1/images/{digest}/content"] = contentOperations(PROBLEM);
  paths["/v1/backup"] = {
    get: { ...BACKUP_OPERATION, responses: { ...BACKUP_OPERATION.responses, default: PROBLEM } },
  };
  return {
    openapi: "3.1.0",
    info: { title: "Muster", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
      schemas: { ...schemasOf(answers, "output"), ...schemasOf(bodies, "input") },
    },
  };
}

type Registry = ReturnType<typeof registryOf>;

function registryOf(named: Readonly<Record<string, z.ZodType>>) {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(named)) registry.add(schema, { id });
  return registry;
}

const uri = (id: string): string => `#/components/schemas/${id}`;

function schemasOf(registry: Registry, io: "input" | "output"): Json {
  const { schemas } = z.toJSONSchema(registry, { target: "draft-2020-12", io, uri });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, plain(schema)]));
}

function operation(route: Route, answers: Registry, bodies: Registry): Json {
  return {
    operationId: route.id,
    summary: route.summary,
    parameters: [
      ...parameters(route.params, "path"),
      ...parameters(route.query, "query"),
      ...(route.id === "createVm" ? [IDEMPOTENCY_KEY] : []),
    ],
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { "application/json": { schema: inline(route.body, bodies, "input") } },
          },
        }),
    responses: {
      [route.status]: {
        description: "Done, or stored to be done.",
        content: { "application/json": { schema: inline(route.answer, answers, "output") } },
      },
      default: PROBLEM,
    },
  };
}

function inline(schema: z.ZodType, registry: Registry, io: "input" | "output"): Json {
  const id = registry.get(schema)?.id;
  if (id !== undefined) return { $ref: uri(id) };
  return pointAt(plain(z.toJSONSchema(schema, { target: "draft-2020-12", io, metadata: registry })));
}

/** Named schemas stand under `components` of the document, not beside the schema that uses them. */
function pointAt(schema: Json): Json {
  const { $defs: _defs, ...rest } = schema;
  const text = JSON.stringify(rest).replaceAll("#/$defs/", "#/components/schemas/");
  return JSON.parse(text);
}

function parameters(schema: z.ZodObject, place: "path" | "query"): Json[] {
  const described = plain(z.toJSONSchema(schema, { target: "draft-2020-12", io: "input" }));
  const { properties = {}, required = [] } = described as { properties?: Json; required?: readonly string[] };
  return Object.entries(properties).map(([name, inner]) => ({
    name,
    in: place,
    required: place === "path" || required.includes(name),
    schema: inner,
  }));
}

/** A schema inside the document says neither its dialect nor an id of its own. */
function plain(schema: object): Json {
  const { $schema: _dialect, $id: _id, "~standard": _standard, id: _name, ...rest } = schema as Json;
  return rest;
}

const PROBLEM = {
  description: "Refused: problem details (RFC 9457) with kind, reason and the fields at fault.",
  content: { "application/problem+json": { schema: { $ref: uri("Problem") } } },
};

const IDEMPOTENCY_KEY = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  schema: { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$" },
};

const EVENTS = {
  operationId: "followEvents",
  summary: "Events as they happen (server-sent events). An event `missed` says that some before are not kept any more.",
  parameters: [
    { name: "Last-Event-ID", in: "header", required: false, schema: { type: "string", pattern: "^\\d{1,16}$" } },
  ],
  responses: {
    "200": { description: "A stream of Event.", content: { "text/event-stream": { schema: { type: "string" } } } },
    default: PROBLEM,
  },
};
