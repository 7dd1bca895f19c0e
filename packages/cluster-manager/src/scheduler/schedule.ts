/** Picks a host for a VM on one view of the site: filters, then scores, then the name. Pure, the same answer every time. */
import type { CandidateView } from "@muster/protocol";
import { refusedBy } from "./filters.ts";
import type { Demand, HostOption } from "./host-option.ts";
import { scoreOf, type Weights } from "./scores.ts";

export type Decision =
  | { readonly kind: "host"; readonly host: string; readonly score: number; readonly tally: Tally }
  | { readonly kind: "none"; readonly tally: Tally };

/** How many hosts would do, and how many are out for which reason. */
export type Tally = { readonly possible: number; readonly refused: ReadonlyMap<string, number> };

/** The best host. Equal scores: the first by name, so that the same site always decides the same. */
export function schedule(demand: Demand, hosts: Iterable<HostOption>, weights: Weights): Decision {
  let best: HostOption | undefined;
  let bestScore = Number.NEGATIVE_INFINITY;
  let possible = 0;
  const refused = new Map<string, number>();
  for (const host of hosts) {
    const reason = refusedBy(demand, host);
    if (reason !== undefined) {
      refused.set(reason.reason, (refused.get(reason.reason) ?? 0) + 1);
      continue;
    }
    possible += 1;
    const score = scoreOf(demand, host, weights);
    if (best === undefined || score > bestScore || (score === bestScore && host.name < best.name)) {
      best = host;
      bestScore = score;
    }
  }
  const tally = { possible, refused };
  return best === undefined ? { kind: "none", tally } : { kind: "host", host: best.name, score: bestScore, tally };
}

/** Every host with its verdict, reason and score, best first, then by name (P4). */
export function explain(demand: Demand, hosts: Iterable<HostOption>, weights: Weights): CandidateView[] {
  const all = [...hosts];
  const decision = schedule(demand, all, weights);
  const candidates = all.map((host) => candidateOf(demand, host, weights, decision));
  return candidates.sort(
    (left, right) => (right.score ?? -1e9) - (left.score ?? -1e9) || (left.name < right.name ? -1 : 1),
  );
}

function candidateOf(demand: Demand, host: HostOption, weights: Weights, decision: Decision): CandidateView {
  const reason = refusedBy(demand, host);
  if (reason !== undefined) return { kind: "host", name: host.name, verdict: "refused", ...reason };
  const score = scoreOf(demand, host, weights);
  if (decision.kind === "host" && decision.host === host.name)
    return { kind: "host", name: host.name, verdict: "chosen", message: "fits and scores best", score };
  return { kind: "host", name: host.name, verdict: "possible", message: "fits", score };
}

/** A tally in one line: `2 lacks-vcpus, 1 draining`. */
export function tallyLine(tally: Tally): string {
  if (tally.refused.size === 0 && tally.possible === 0) return "no host is enrolled";
  return [...tally.refused]
    .sort(([left, a], [right, b]) => b - a || (left < right ? -1 : 1))
    .map(([reason, count]) => `${count} ${reason}`)
    .join(", ");
}
