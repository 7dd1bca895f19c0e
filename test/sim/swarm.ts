/** What a run is like: drawn from its seed, so that some runs have many faults of one kind and none of another. */
import { type Rng, seededRng } from "@muster/base";

export const FAULT_KINDS = [
  "manager-crash",
  "manager-pause",
  "needless-takeover",
  "host-crash",
  "host-pause",
  "host-power-loss",
  "hypervisor-hung",
  "hypervisor-down",
  "guest-stops",
  "host-cut-off",
  "site-cut-off",
  "server-outage",
  "store-trouble",
  "clock-jump",
  "drain",
  "rogue-peer",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export type Swarm = {
  readonly seed: number;
  readonly sites: number;
  readonly managersPerSite: number;
  /** vCPUs of each host, site by site. */
  readonly hosts: readonly (readonly number[])[];
  readonly activeMs: number;
  readonly quietMs: number;
  readonly operations: number;
  /** Mean time between two faults, and which there are. */
  readonly faultEveryMs: number;
  readonly faults: readonly FaultKind[];
  /** Chance of a crash at each point where something is written or sent. */
  readonly crashAtWrite: number;
  readonly loss: number;
  readonly duplicates: number;
  readonly delayMs: number;
  /** Chance and length of a long delay; what is late overtakes nothing unless `reorders`. */
  readonly lateChance: number;
  readonly lateMs: number;
  readonly reorders: boolean;
  readonly commitMs: number;
  readonly heartbeatMs: number;
  readonly surveyMs: number;
  /** How far the wall clocks of sites are apart, and by how much the clock of a site may jump at a start. */
  readonly skewMs: number;
  readonly jumpMs: number;
  /** How much faster or slower a site's clock runs, at most. */
  readonly drift: number;
  /** How many wishes come at the same moment. */
  readonly rush: number;
  readonly burstShare: number;
  readonly leaseMs: number;
  readonly queueMax: number;
  readonly foreignDomains: boolean;
  /** Hosts move VMs alive, and admins have them moved. */
  readonly moves: boolean;
  /** Also to peers, and home again. */
  readonly movesBetween: boolean;
  /** All managers of one site are gone for longer than any lease lasts. */
  readonly managersGone: boolean;
  /** Sites keep books, peer by record, lend by rules, and their users operate on VMs. */
  readonly deals: boolean;
  /** The site whose meter of what it lends runs half as fast again as time: a lender that asks for too much. */
  readonly fastMeter: number | undefined;
};

/** Margin that the borrower leaves for clocks that differ (B4): jumps and drift of a run stay below it. */
export const MARGIN_MS = 3_000;
/** Longest delay plus longest pause of a manager: what a question may take on its way, see `flightMs`. */
export const FLIGHT_MS = 15_000;
export const GRACE_MS = 6_000;

/** Runs from here on may have moves in them, the first million all of them: those before stay as they were. */
export const MOVES_FROM_SEED = 3_000_000;
/** From here on all have moves, and some of them go between sites. */
export const MOVES_BETWEEN_FROM_SEED = 7_000_000;
/** The same for books, peerings by record, rules of lenders and operations on VMs. */
export const DEALS_FROM_SEED = 5_000_000;

export function swarmOf(seed: number): Swarm {
  const swarm = withDeals(withMoves(drawn(seed)));
  // Long enough for the borrower to count its leases as over while nobody leads the lender.
  return swarm.managersGone ? { ...swarm, activeMs: swarm.activeMs + 60_000 } : swarm;
}

/** Drawn apart: what else a run is like does not depend on it. A move needs two hosts. */
function withMoves(swarm: Swarm): Swarm {
  const rng = seededRng(swarm.seed + 8);
  const movesBetween = swarm.seed >= MOVES_BETWEEN_FROM_SEED;
  const all = movesBetween || swarm.seed < MOVES_FROM_SEED + 1_000_000;
  if (swarm.seed < MOVES_FROM_SEED || !(all || rng.int(2) === 0)) return swarm;
  const hosts = swarm.hosts.map(() => Array.from({ length: 2 + rng.int(2) }, () => 4 + 2 * rng.int(3)));
  return { ...swarm, moves: true, movesBetween, hosts };
}

function withDeals(swarm: Swarm): Swarm {
  const rng = seededRng(swarm.seed + 9);
  const all = swarm.seed < DEALS_FROM_SEED + 1_000_000;
  if (swarm.seed < DEALS_FROM_SEED || !(all || rng.int(2) === 0)) return swarm;
  const fastMeter = rng.int(5) === 0 ? rng.int(swarm.sites) : undefined;
  const burstShare = pick(rng, [0.4, 0.7, 0.9]);
  return { ...swarm, deals: true, fastMeter, burstShare, operations: swarm.operations + 10 };
}

function drawn(seed: number): Swarm {
  const rng = seededRng(seed);
  const sites = rng.int(10) < 7 ? 2 : 3;
  const calm = rng.int(8) === 0;
  const faults = calm ? [] : FAULT_KINDS.filter(() => rng.int(100) < 45);
  return {
    seed,
    sites,
    managersPerSite: 2,
    hosts: Array.from({ length: sites }, () => Array.from({ length: 1 + rng.int(3) }, () => 2 + 2 * rng.int(3))),
    activeMs: 30_000 + rng.int(5) * 10_000,
    quietMs: 110_000,
    operations: 15 + rng.int(30),
    faultEveryMs: 1_000 + rng.int(8) * 1_000,
    faults,
    crashAtWrite: calm ? 0 : pick(rng, [0, 0.002, 0.005, 0.02]),
    loss: calm ? 0 : pick(rng, [0, 0, 0.02, 0.1, 0.25]),
    duplicates: calm ? 0 : pick(rng, [0, 0, 0.05, 0.2]),
    delayMs: pick(rng, [1, 5, 30, 150]),
    lateChance: calm ? 0 : pick(rng, [0, 0.01, 0.05]),
    lateMs: 5_000,
    reorders: rng.int(3) === 0,
    commitMs: pick(rng, [0, 1, 5, 80]),
    heartbeatMs: pick(rng, [1_000, 2_000, 5_000]),
    surveyMs: pick(rng, [2_000, 5_000]),
    skewMs: pick(rng, [0, 1_000, 3_600_000]),
    jumpMs: pick(rng, [0, 300, 1_000]),
    drift: pick(rng, [0, 0.0005, 0.005]),
    rush: pick(rng, [1, 1, 3, 8]),
    burstShare: pick(rng, [0, 0.3, 0.6, 0.9]),
    leaseMs: pick(rng, [4_000, 8_000, 20_000]),
    queueMax: rng.int(6) === 0 ? 4 : 1_000,
    foreignDomains: rng.int(3) === 0,
    moves: false,
    movesBetween: false,
    managersGone: !calm && rng.int(8) === 0,
    deals: false,
    fastMeter: undefined,
  };
}

/** One line that says what the run was like. */
export function describe(swarm: Swarm): string {
  const { sites, hosts, activeMs, operations, faultEveryMs, faults, loss, duplicates, crashAtWrite } = swarm;
  const machines = hosts.map((vcpus) => vcpus.join("+")).join(" | ");
  return `${sites} sites (vCPUs ${machines}), ${activeMs / 1_000} s with a fault every ${faultEveryMs / 1_000} s of ${
    faults.join(", ") || "none"
  }; ${operations} wishes, loss ${loss}, duplicates ${duplicates}, crash at writes ${crashAtWrite}`;
}

function pick<Value>(rng: Rng, values: readonly [Value, ...Value[]]): Value {
  return values[rng.int(values.length)] ?? values[0];
}
