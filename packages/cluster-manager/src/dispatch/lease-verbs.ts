/** What admins of the lender do with exchanges: approve or deny one that waits for it, revoke one that runs. */
import { type Refusal, refusal } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import type { Round } from "../core/round.ts";
import { stepLender } from "./lending.ts";

export type LeaseVerb = Extract<CoreEvent, { readonly kind: "lease-decide" | "lease-revoke" }>;

export function takeLeaseVerb(round: Round, event: LeaseVerb): void {
  const { ticket, actor, lease: id, peer } = event;
  const refused = refuseVerb(round, event);
  if (refused !== undefined) {
    round.turn.answer(ticket, { kind: "refused", refusal: refused });
    return;
  }
  const by = event.reason === undefined ? `by ${actor.user}` : `${event.reason} (by ${actor.user})`;
  if (event.kind === "lease-decide")
    stepLender(round, { kind: "decide", ticket, id, peer, approve: event.approve, reason: by });
  else stepLender(round, { kind: "revoke", ticket, id, peer, noticeMs: event.noticeMs, reason: event.reason });
}

function refuseVerb({ borrower }: Round, { actor, lease }: LeaseVerb): Refusal | undefined {
  if (actor.role !== "admin")
    return refusal("forbidden", "admin-only", `${actor.user} may not decide on leases: ask an admin`);
  for (const { id, peer, vm } of borrower.records())
    if (id === lease)
      return refusal("conflict", "borrowed-lease", `${lease} is lent by ${peer}: delete VM ${vm} to end it`);
  return undefined;
}
