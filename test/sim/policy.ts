/** How sites of the simulator are set up: short times, so that a run of two minutes sees leases come and go. */
import type { BorrowTiming, Peering } from "@muster/broker";
import type { SitePolicy } from "@muster/cluster-manager";
import { FLIGHT_MS, GRACE_MS, MARGIN_MS, type Swarm } from "./swarm.ts";

export const IMAGE = "debian-12";
/** Any key of the right form: signatures are checked at the border, which the simulator has not. */
const KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

export const POLICY_TIMING: SitePolicy["timing"] = {
  suspectAfterMissed: 3,
  lostAfterMissed: 6,
  settleMs: 3_000,
  commandTimeoutMs: 1_000,
  leaseGraceMs: GRACE_MS,
  rememberMs: 600_000,
};

export const BORROW_TIMES: Partial<BorrowTiming> = {
  holdMs: 8_000,
  askMs: 6_000,
  callTimeoutMs: 1_500,
  offerDeadlineMs: 500,
  offerEveryMs: 4_000,
  retryMs: 300,
  retryMsMax: 4_000,
  restMs: 1_000,
  restMsMax: 8_000,
  flightMs: FLIGHT_MS,
  graceMs: GRACE_MS,
  marginMs: MARGIN_MS,
};

export function sitePolicy(
  domain: string,
  manager: string,
  term: number,
  peers: readonly string[],
  swarm: Swarm,
): SitePolicy {
  return {
    domain,
    manager,
    term,
    agent: "muster",
    images: [{ tag: IMAGE }],
    overcommit: { vcpus: 1, memory: 1 },
    queueMax: swarm.queueMax,
    vmsMax: 5_000,
    quotas: {},
    peerings: peers.map(peering),
    weights: {},
    timing: POLICY_TIMING,
  };
}

function peering(domain: string): Peering {
  const lend = { accept: true, share: 1, leaseMsMax: 600_000, vmsMax: 100, images: [] };
  return { domain, publicKey: KEY, lend, borrow: true, state: "active" };
}
