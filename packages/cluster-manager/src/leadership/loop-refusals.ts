/** What callers of the loop hear when the core cannot answer them. */
import { type Refusal, refusal } from "@muster/protocol";

/** At the bound of callers (S2). */
export const BUSY = refusal(
  "resource-constraint",
  "manager-busy",
  "this manager has more requests waiting than it takes at once; ask again in a moment under the same id",
  { retryAfterMs: 500 },
);

/** A commit that did not end well, as its callers hear it. */
export function storeRefusal(outcome: { readonly kind: "failed" | "unknown"; readonly message: string }): Refusal {
  const [reason, meaning] =
    outcome.kind === "failed"
      ? ["store-failed", "nothing was changed"]
      : ["store-in-doubt", "it may have been stored: ask again under the same id"];
  const message = `the store could not be written (${outcome.message.slice(0, 300)}); ${meaning}`;
  return refusal("unavailable", reason, message, { retryAfterMs: 1_000 });
}

export const DEPOSED = refusal("not-leader", "deposed", "another manager leads now; ask again", { retryAfterMs: 500 });
export const NOT_LEADING = refusal("not-leader", "not-leading", "this manager does not lead any more; ask another");
export const STOPPING = refusal("unavailable", "stopping", "this manager is stopping; ask again in a moment");
export const FAULT = refusal(
  "internal",
  "manager-fault",
  "this manager met a fault of its own and starts again; ask again",
);
export const STORE_AWAY = refusal(
  "unavailable",
  "store-unavailable",
  "the store cannot be written or read just now; nothing was changed, ask again under the same id; an admin finds the " +
    "cause with: muster doctor",
  { retryAfterMs: 1_000 },
);
