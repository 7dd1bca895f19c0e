/** How sites of the simulator are set up: short times, so that a run of two minutes sees leases come and go. */
import type { BorrowTiming, LedgerTiming, Peering } from "@muster/broker";
import type { SitePolicy } from "@muster/cluster-manager";
import { hostConfigSchema, type Policy, policyOf } from "@muster/host-manager";
import { bytesFrom, siteKeys } from "./site-keys.ts";
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

export const LEDGER_TIMES: Partial<LedgerTiming> = {
  everyMs: 6_000,
  toleranceMs: 4_000,
  retryMs: 300,
  retryMsMax: 4_000,
  callTimeoutMs: 1_500,
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
    peerings: swarm.deals ? [] : peers.map(peering),
    weights: {},
    timing: POLICY_TIMING,
  };
}

const LEND = { accept: true, share: 1, leaseMsMax: 600_000, vmsMax: 100, images: [] };

function peering(domain: string): Peering {
  const lend = LEND;
  return { domain, publicKey: KEY, lend, borrow: true, state: "active" };
}

/** Peerings by record as two invitations of long ago left them: both sides active, each with the other's first key. */
export function peerRecords(domain: string, peers: readonly string[]) {
  return peers.map((peer) => {
    const invites = domain < peer;
    const id = `01900000-0000-7000-9000-${bytesFrom([domain, peer].sort().join()).toString("hex").slice(0, 12)}`;
    const [ours, key] = [pinnedKey(domain), pinnedKey(peer)];
    const accept = { invitation: id, key: ours.publicKey, keySequence: 1, proof: NO_PROOF, lend: TERMS, borrow: true };
    const origin = invites
      ? { role: "inviter", id, proofKey: key.publicKey, expiresAtMs: 0, digest: "taken" }
      : { role: "acceptor", id, expiresAtMs: 0, accept };
    return { domain: peer, state: "active", sinceMs: 0, lend: LEND, agreed: LEND, borrow: true, key, ours, origin };
  });
}

const TERMS = { accept: true, sharePermille: 1_000, leaseMsMax: 600_000, vmsMax: 100, images: [] };
const NO_PROOF = "A".repeat(86);

function pinnedKey(domain: string) {
  return { publicKey: siteKeys(domain)[0]?.publicKey ?? "", sequence: 1 };
}

/** How hosts are set up. */
export function hostPolicy({ heartbeatMs, surveyMs }: Swarm, site: string, name: string): Policy {
  const config = hostConfigSchema.parse({
    site,
    name,
    state: "/nowhere",
    xmpp: { service: "xmpps://127.0.0.1:5223", passwordFile: "/nowhere" },
    hypervisor: { kind: "simulated" },
  });
  return {
    ...policyOf(config),
    heartbeatMs,
    surveyMs,
    reportMs: 100,
    noticeRetryMs: 300,
    noticeRetryMsMax: 5_000,
    overcommitMax: { vcpus: 1, memory: 1 },
  };
}
