import type { FieldFault } from "@muster/base";
import { type Problem, problemOf, type Refusal, refusal } from "@muster/protocol";
import type { FastifyError, FastifyReply } from "fastify";

/** Sends a refusal as problem details (RFC 9457), with `Retry-After` where it helps. */
export function sendProblem(
  reply: FastifyReply,
  refused: Refusal,
  more: { readonly faults?: readonly FieldFault[]; readonly status?: number } = {},
): FastifyReply {
  const problem: Problem = problemOf(refused, more.faults ?? []);
  const status = more.status ?? problem.status;
  if (refused.retryAfterMs !== undefined) reply.header("retry-after", Math.ceil(refused.retryAfterMs / 1_000));
  return reply
    .code(status)
    .header("content-type", "application/problem+json; charset=utf-8")
    .send(JSON.stringify({ ...problem, status }));
}

/** What fastify itself refuses: size, content type, broken requests. `undefined` for a fault of ours. */
export function transportProblem(
  error: FastifyError,
): { readonly refusal: Refusal; readonly status: number } | undefined {
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return bad(413, "body-too-large", "the body is larger than 64 KiB; send less at a time");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return bad(415, "wrong-content-type", "the body must be JSON: send content-type application/json");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return bad(400, "wrong-content-length", "content-length does not match the body");
    case "FST_ERR_BAD_URL":
      return bad(400, "malformed-url", "the path is no valid URL; encode it");
    case "FST_ERR_MAX_PARAM_LENGTH":
      return bad(414, "url-too-long", "a part of the path is too long");
    default: {
      const status = error.statusCode ?? 500;
      return status >= 400 && status < 500 ? bad(status, "malformed-request", "the request is malformed") : undefined;
    }
  }
}

function bad(status: number, reason: string, message: string) {
  return { status, refusal: refusal("bad-request", reason, message) };
}
