import { z } from "zod";
import { lineSchema } from "./ids.ts";

/**
 * Why something was refused, the same on the wire, in the API and on the command line.
 *
 * The kinds follow RFC 6120 section 8.3.3, so that every channel maps them one to one:
 * `resource-constraint` wait, `policy-violation` modify the request, `forbidden` not yours to do, `conflict` the id is
 * taken by other content, `item-not-found` only for unknown ids, `bad-request` a field is wrong, `not-leader` ask the
 * leader, `stale-term` a newer leader exists, `unavailable` try again later, `internal` our fault.
 */
export const refusalKindSchema = z.enum([
  "bad-request",
  "conflict",
  "forbidden",
  "internal",
  "item-not-found",
  "not-acceptable",
  "not-authorized",
  "not-leader",
  "policy-violation",
  "resource-constraint",
  "stale-term",
  "unavailable",
]);
export type RefusalKind = z.output<typeof refusalKindSchema>;

export const refusalSchema = z.object({
  kind: refusalKindSchema,
  /** Machine reason within the kind, kebab-case: `no-capacity`, `quota-exceeded`, `unknown-image`. */
  reason: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  /** Human sentence: what is wrong and what to do. */
  message: lineSchema,
  /** The field at fault, where it is one. */
  field: z.string().max(128).optional(),
  /** When a further try makes sense, in milliseconds from now. */
  retryAfterMs: z.int().min(0).max(86_400_000).optional(),
});
export type Refusal = z.output<typeof refusalSchema>;

/** Builds a refusal; the optional parts only where they say something. */
export function refusal(
  kind: RefusalKind,
  reason: string,
  message: string,
  more: { readonly field?: string; readonly retryAfterMs?: number } = {},
): Refusal {
  return { kind, reason, message: message.slice(0, 500), ...more };
}
