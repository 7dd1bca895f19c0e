/** B5, S3: a peer hears of the site, never of its hosts, and nothing in a host's own words. */
import type { LeaseState } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

export function noNamesTold(): Checker {
  return {
    onEffect(lead, effect) {
      const states: readonly LeaseState[] = effect.kind === "peer-notify" ? effect.states : [];
      for (const { id, reason } of states)
        for (const host of lead.site.hosts.keys())
          claim(
            !new RegExp(`\\b${host}\\b`).test(reason ?? ""),
            "B5",
            () => `${lead.site.domain} tells a peer of its host ${host}: ${reason}`,
            id,
          );
    },
  };
}
