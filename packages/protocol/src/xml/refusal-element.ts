/**
 * `<refusal/>`, the application-specific child of a stanza error (RFC 6120 section 8.3.2), and the standard condition
 * and error type that go with each kind. Namespace urn:muster:refusal:1, version 1.
 */
import { NS_REFUSAL } from "../namespaces.ts";
import { type RefusalKind, refusalSchema } from "../refusal.ts";
import { integer, line, text } from "./field.ts";
import { defineMessage } from "./message.ts";

export const refusalMessage = defineMessage({
  name: "refusal",
  namespace: NS_REFUSAL,
  schema: refusalSchema,
  fields: { kind: text, reason: text, message: line, field: text, retryAfterMs: integer },
});

type StanzaErrorOf = { readonly condition: StandardCondition; readonly type: "auth" | "cancel" | "modify" | "wait" };
export type StandardCondition =
  | "bad-request"
  | "conflict"
  | "forbidden"
  | "internal-server-error"
  | "item-not-found"
  | "not-acceptable"
  | "not-authorized"
  | "policy-violation"
  | "resource-constraint"
  | "unexpected-request";

/** The standard error for each kind of refusal: a stack that knows nothing of Muster still reacts rightly. */
export const STANZA_ERRORS: Readonly<Record<RefusalKind, StanzaErrorOf>> = {
  "bad-request": { condition: "bad-request", type: "modify" },
  conflict: { condition: "conflict", type: "cancel" },
  forbidden: { condition: "forbidden", type: "auth" },
  internal: { condition: "internal-server-error", type: "wait" },
  "item-not-found": { condition: "item-not-found", type: "cancel" },
  "not-acceptable": { condition: "not-acceptable", type: "modify" },
  "not-authorized": { condition: "not-authorized", type: "auth" },
  "not-leader": { condition: "unexpected-request", type: "wait" },
  "policy-violation": { condition: "policy-violation", type: "modify" },
  "resource-constraint": { condition: "resource-constraint", type: "wait" },
  "stale-term": { condition: "unexpected-request", type: "cancel" },
  unavailable: { condition: "resource-constraint", type: "wait" },
};
