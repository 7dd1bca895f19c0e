/** B5: a lender lets only a peer with a peering ask, and only about its own exchanges. */
import type { LendRecord } from "@muster/broker";
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

export function ownersOnly(): Checker {
  return {
    onEffect(lead, effect, cause) {
      if (effect.kind !== "answer" || cause?.kind !== "peer-request" || effect.answer.kind !== "burst") return;
      const { peer } = cause;
      claim(lead.site.peers.includes(peer), "B5", () => `${lead.site.domain} answers ${peer}, which has no peering`);
    },
    onCommit(_lead, kept, batch) {
      for (const { key, before, after } of kept) {
        if (!key.startsWith("lend/") || after === undefined) continue;
        const was = before as LendRecord | undefined;
        const is = after as LendRecord;
        const asked =
          is.renewals > (was?.renewals ?? 0) ||
          is.wanted !== was?.wanted ||
          (is.stage === "leased" && was?.stage === "held");
        if (!asked && !is.reason?.includes(NOT_ITS_OWN)) continue;
        const own = batch.some((event) => event.kind === "peer-request" && event.peer === is.peer);
        claim(own, "B5", () => `${is.id} of ${is.peer} was changed by somebody else`, is.id);
      }
    },
  };
}

/** What the rogue gives as its reason. */
const NOT_ITS_OWN = "none of its business";
