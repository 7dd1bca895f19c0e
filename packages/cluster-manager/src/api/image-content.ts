/** The content of images over HTTP: sent by those who add one, read by hosts with a ticket. Streams, so no ordinary routes. */
import type { Readable } from "node:stream";
import { decode } from "@muster/base";
import { imageDigestSchema, imageViewSchema, type Refusal, refusal } from "@muster/protocol";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Actor } from "../core/event.ts";
import { maySee } from "../images/image-verbs.ts";
import type { Backend } from "./backend.ts";
import { NO_IMAGE_STORE } from "./image-routes.ts";
import { unknown } from "./permission.ts";
import { sendProblem } from "./problem-reply.ts";

export const CONTENT_PATH = "/v1/images/:digest/content";

/** As many bytes as a disk may have: the room in the store is the bound that counts. */
const BODY_BYTES_MAX = 2 ** 44;

type Mounted = {
  readonly server: FastifyInstance;
  readonly backend: Backend;
  /** Who calls, by its token; `undefined` where there is none that is known. */
  readonly actorOf: (request: FastifyRequest) => Actor | undefined;
};

/** Mounts both in a scope of their own: no other route takes a stream. */
export function mountImageContent({ server, backend, actorOf }: Mounted): void {
  server.register(async (scope) => {
    scope.addContentTypeParser("application/octet-stream", (_request, payload, done) => done(null, payload));
    scope.put(CONTENT_PATH, { bodyLimit: BODY_BYTES_MAX }, (request, reply) => put(backend, actorOf, request, reply));
    scope.get(CONTENT_PATH, (request, reply) => get(backend, actorOf, request, reply));
  });
}

async function put(
  backend: Backend,
  actorOf: Mounted["actorOf"],
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { images, loop } = backend;
  const refuse = (why: Refusal): FastifyReply => {
    // The rest of what is sent is not waited for.
    reply.header("connection", "close");
    return sendProblem(reply, why);
  };
  const actor = actorOf(request);
  if (actor === undefined) throw new Error("content came without an actor");
  if (images === undefined) return refuse(NO_IMAGE_STORE);
  const digest = digestOf(request);
  const record = digest === undefined ? undefined : await loop.read((views) => views.imageRecord(digest));
  if (digest === undefined || record === undefined || !maySee(actor, record))
    return refuse(unknown("image", digest ?? "of this digest"));
  if (actor.role === "viewer" || (actor.role !== "admin" && record.user !== actor.user))
    return refuse(
      refusal("forbidden", "not-your-image", "only an admin, or who added the image, may send its content"),
    );
  if (record.content.kind !== "present") {
    const length = Number(request.headers["content-length"] ?? Number.NaN);
    const stream = request.body as Readable | undefined;
    if (stream === undefined) return refuse(NO_CONTENT);
    const taken = await images.keeper.take(record, stream, Number.isSafeInteger(length) ? length : undefined);
    if (!taken.ok) return refuse(taken.error);
  } else reply.header("connection", "close");
  const view = await loop.read((views) => views.image(actor, digest));
  return view === undefined ? refuse(unknown("image", digest)) : reply.code(200).send(view);
}

const NO_CONTENT = refusal(
  "bad-request",
  "no-content",
  "the image is the body: send it with content-type application/octet-stream",
);

async function get(
  { images, loop }: Backend,
  actorOf: Mounted["actorOf"],
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const digest = digestOf(request);
  const query = decode(z.object({ ticket: z.string().max(100).default("") }), request.query);
  const ticket = query.ok ? query.value.ticket : "";
  const actor = actorOf(request);
  const record = digest === undefined ? undefined : await loop.read((views) => views.imageRecord(digest));
  const admitted = digest !== undefined && images?.tickets.admits(ticket, digest, loop.nowMs()) === true;
  if (!admitted && actor === undefined) {
    const message = "the ticket has run out or is not of this image: it comes with the order to start a VM";
    return sendProblem(reply, refusal("not-authorized", "no-ticket", message));
  }
  if (images === undefined) return sendProblem(reply, NO_IMAGE_STORE);
  if (record === undefined || !(admitted || (actor !== undefined && maySee(actor, record))))
    return sendProblem(reply, unknown("image", digest ?? "of this digest"));
  const opened = await images.keeper.open(record);
  if (!opened.ok) return sendProblem(reply, opened.error);
  return reply
    .headers({ "content-type": "application/octet-stream", "content-length": opened.value.bytes })
    .send(opened.value.stream);
}

function digestOf(request: FastifyRequest): string | undefined {
  const params = decode(z.object({ digest: imageDigestSchema }), request.params);
  return params.ok ? params.value.digest : undefined;
}

/** For the description of the API. */
export function contentOperations(problem: object): object {
  const digest = {
    name: "digest",
    in: "path",
    required: true,
    schema: { type: "string", pattern: "^sha256:[0-9a-f]{64}$" },
  };
  const octets = { "application/octet-stream": { schema: { type: "string", format: "binary" } } };
  const view = z.toJSONSchema(imageViewSchema, { target: "draft-2020-12", io: "output" });
  const { $schema: _dialect, ...image } = view;
  return {
    put: {
      operationId: "sendImage",
      summary:
        "Sends the content of an image that was added. Answered when its digest is right and it was looked into.",
      parameters: [digest],
      requestBody: { required: true, content: octets },
      responses: {
        "200": { description: "The image.", content: { "application/json": { schema: image } } },
        default: problem,
      },
    },
    get: {
      operationId: "readImage",
      summary: "The content of an image, for a host with a ticket, or for a user who may see the image.",
      parameters: [digest, { name: "ticket", in: "query", required: false, schema: { type: "string" } }],
      responses: { "200": { description: "The file.", content: octets }, default: problem },
    },
  };
}
