import type { LinkEnd } from "./link.ts";

/** SASL failures (RFC 6120 section 6.5) that another try may not meet. */
const PASSING_SASL_FAILURES = new Set(["temporary-auth-failure", "aborted"]);

/** Enrolment was refused, and the password does not work either: the owner needs another token. */
export class EnrolmentError extends Error {
  override readonly name = "EnrolmentError";
}

/** Sorts what ended a link into *try again* and *the server will not have us as we are*. */
export function classifyEnd(error: unknown): LinkEnd {
  if (!(error instanceof Error)) return { kind: "lost", reason: "the connection was closed" };
  const condition = "condition" in error ? String(error.condition) : "";
  const text = error.message;
  if (error.name === "EnrolmentError") return { kind: "refused", reason: "not-authorized", text };
  if (error.name === "SASLError" && !PASSING_SASL_FAILURES.has(condition)) {
    return { kind: "refused", reason: "not-authorized", text };
  }
  if (error.name === "StreamError") {
    if (condition === "conflict") return { kind: "refused", reason: "conflict", text };
    if (condition === "not-authorized") return { kind: "refused", reason: "not-authorized", text };
    if (condition === "host-unknown" || condition === "host-gone") {
      return { kind: "refused", reason: "host-unknown", text };
    }
  }
  const code = "code" in error && !text.includes(String(error.code)) ? `${String(error.code)}: ` : "";
  return { kind: "lost", reason: `${code}${text === "" ? error.name : text}` };
}
