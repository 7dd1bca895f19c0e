/** L1: one leader a term, terms only grow. L2: a deposed leader changes nothing and says nothing more. */
import type { Checker } from "../checker.ts";
import type { Lead } from "../lead.ts";
import { claim } from "../violation.ts";

export function leadership(): Checker {
  const byTerm = new Map<string, Lead>();
  const highest = new Map<string, number>();
  const deposed = new Set<Lead>();
  return {
    onLead(lead) {
      const key = `${lead.site.domain}/${lead.term}`;
      const known = byTerm.get(key);
      claim(
        known === undefined || known === lead,
        "L1",
        () => `${lead.name} and ${known?.name} lead term ${lead.term}`,
      );
      const before = highest.get(lead.site.domain) ?? 0;
      claim(known === lead || lead.term > before, "L1", () => `term ${lead.term} begins after term ${before}`);
      byTerm.set(key, lead);
      highest.set(lead.site.domain, Math.max(before, lead.term));
    },
    onDeposed(lead) {
      deposed.add(lead);
    },
    onCommit(lead) {
      const { term } = lead.site.store;
      claim(lead.term === term, "L2", () => `${lead.name} changed the store in term ${term}`);
    },
    onEffect(lead, effect) {
      claim(!deposed.has(lead), "L2", () => `${lead.name} was deposed and still has effects: ${effect.kind}`);
    },
  };
}
