/**
 * What bursting costs and brings: the decision on real processes, many peers, many leases, and three sites that help each
 * other. Load of the machine is printed with the figures.
 *
 *   npm run bench -- burst
 */
import { loadavg } from "node:os";
import { decisionTimes } from "./bursts/decision.ts";
import { manyPeers } from "./bursts/many-peers.ts";
import { renewals } from "./bursts/renewals.ts";
import { threeSites } from "./bursts/three-sites.ts";

const PARTS = { decision: decisionTimes, peers: manyPeers, renewals, sites: threeSites } as const;

/** Parts by name in `MUSTER_BURST`, with commas; all of them without it. */
const named = process.env.MUSTER_BURST?.split(",") ?? Object.keys(PARTS);
for (const [name, part] of Object.entries(PARTS)) {
  if (!named.includes(name)) continue;
  const [load = 0] = loadavg();
  process.stdout.write(`${await part()}\nLoad of the machine before it: ${load.toFixed(1)}\n\n`);
}
