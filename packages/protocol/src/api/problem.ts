/** Errors of the HTTP API: problem details (RFC 9457) that carry the refusal, and the exit code each kind gets. */
import { z } from "zod";
import { type Refusal, type RefusalKind, refusalKindSchema } from "../refusal.ts";

export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  kind: refusalKindSchema,
  reason: z.string(),
  faults: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  retryAfterMs: z.int().optional(),
});
export type Problem = z.output<typeof problemSchema>;

/** HTTP status of each kind of refusal (RFC 9110 section 15). */
export const HTTP_STATUS: Readonly<Record<RefusalKind, number>> = {
  "bad-request": 400,
  "not-authorized": 401,
  forbidden: 403,
  "item-not-found": 404,
  "not-acceptable": 406,
  conflict: 409,
  "stale-term": 409,
  "policy-violation": 422,
  "resource-constraint": 429,
  internal: 500,
  unavailable: 503,
  "not-leader": 503,
};

/** Exit code of the command line for each kind. */
export const EXIT_CODE: Readonly<Record<RefusalKind, number>> = {
  "bad-request": 1,
  "policy-violation": 1,
  "resource-constraint": 1,
  conflict: 1,
  "not-acceptable": 1,
  "stale-term": 1,
  internal: 1,
  "item-not-found": 3,
  forbidden: 4,
  "not-authorized": 4,
  "not-leader": 5,
  unavailable: 5,
};

export function problemOf(refused: Refusal, faults: readonly { field: string; message: string }[] = []): Problem {
  return {
    type: `urn:muster:problem:${refused.reason}`,
    title: refused.kind.replaceAll("-", " "),
    status: HTTP_STATUS[refused.kind],
    detail: refused.message,
    kind: refused.kind,
    reason: refused.reason,
    ...(faults.length > 0 ? { faults: [...faults] } : {}),
    ...(refused.field !== undefined && faults.length === 0
      ? { faults: [{ field: refused.field, message: refused.message }] }
      : {}),
    ...(refused.retryAfterMs !== undefined ? { retryAfterMs: refused.retryAfterMs } : {}),
  };
}
