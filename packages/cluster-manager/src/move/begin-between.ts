/** Begins moves between sites, at their borrower: away to a peer, or home from it. */
import { type Refusal, refusal } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { specForPeers, stepBorrower } from "../dispatch/borrowing.ts";
import { whyBusy } from "../operations/operation-rules.ts";
import { tunnelWish } from "../tunnels/tunnel-wish.ts";
import { driveMove } from "./drive.ts";
import { isGivenUp } from "./moving.ts";
import { chooseDestination, enterMove, MOVES_MAX, whyNotMovable } from "./start.ts";

/** To a peer: the exchange is opened with the move, and the steps begin once it is leased. */
export function beginAway(round: Round, entry: VmEntry, domain: string): Refusal | undefined {
  const { record } = entry;
  const { move, place } = record;
  if (move?.peer?.role === "destination" && move.to === domain && !isGivenUp(move)) return undefined;
  const obstacle = whyNotMovable(round, record) ?? whyNoPeer(round, domain) ?? whyNotAway(round, record);
  if (obstacle !== undefined || place.kind !== "host") return obstacle;
  const exchange = round.turn.newId();
  const peer = { domain, exchange, role: "destination" } as const;
  enterMove(round, entry, { name: place.host, attempt: record.attempt }, domain, peer);
  const { id: vm, name, project, user: owner, leaseMs, maxPricePerHour } = record;
  const tunnel = tunnelWish(round.set, record);
  const wish = { vm, name, project, owner, spec: specForPeers(record), leaseMs, maxPricePerHour };
  const want = { ...wish, ...(tunnel === undefined ? {} : { tunnel }) };
  stepBorrower(round, { kind: "open", id: exchange, peer: domain, want });
  driveMove(round, entry);
  return undefined;
}

/** From the peer at which it runs, to a host of this site. */
export function beginHome(round: Round, entry: VmEntry, to: string | undefined): Refusal | undefined {
  const { record } = entry;
  const { place, name, phase, move } = record;
  if (move?.peer?.role === "source" && !isGivenUp(move)) return undefined;
  if (place.kind !== "peer") return refusal("conflict", "at-home", `${name} does not run at a peer`);
  const obstacle = whyBusy(record) ?? whyMovingAlready(round, record);
  if (obstacle !== undefined) return obstacle;
  if (phase !== "running" || record.wanted !== "running")
    return refusal("conflict", "not-running", `${name} is ${phase}: only a running VM is moved alive`);
  if (round.borrower.exchangeOf(record.id)?.stage !== "leased")
    return refusal("conflict", "lease-ending", `its lease at ${place.peer} is ending`);
  const chosen = chooseDestination(round, entry, to);
  if (typeof chosen !== "string") return chosen;
  const { peer: domain, exchange } = place;
  const from = { name: domain, attempt: Math.max(1, record.attempt) };
  enterMove(round, entry, from, chosen, { domain, exchange, role: "source" });
  driveMove(round, entry);
  return undefined;
}

/** Why nothing can be moved to this peer. */
function whyNoPeer({ set, turn }: Round, domain: string): Refusal | undefined {
  const peering = set.peers.find(domain, turn.nowMs);
  if (peering === undefined)
    return refusal("item-not-found", "unknown-peer", `this site has no peering with ${domain}`);
  if (peering.state !== "active" || !peering.borrow)
    return refusal(
      "conflict",
      "peering-not-active",
      `nothing is borrowed of ${domain}: the peering is ${peering.state}`,
    );
  return undefined;
}

/** Why it cannot go to any peer. */
function whyNotAway(round: Round, { id, name, burst }: VmRecord): Refusal | undefined {
  if (burst === "never")
    return refusal("policy-violation", "burst-never", `${name} is not to run at peers: --burst never`);
  if (round.borrower.exchangeOf(id) === undefined) return undefined;
  const retry = { retryAfterMs: 1_000 };
  return refusal("unavailable", "exchange-ending", "an earlier exchange of it has not ended: try again soon", retry);
}

/** What of other moves is in the way. */
function whyMovingAlready(round: Round, { name, move, leftover }: VmRecord): Refusal | undefined {
  if (move !== undefined)
    return refusal("conflict", "moving", `${name} is being moved to ${move.to}: cancel that first`);
  if (leftover !== undefined)
    return refusal("unavailable", "leftover", `${leftover.host} has not cleaned up after an earlier move yet`);
  if (round.set.moves.size < MOVES_MAX) return undefined;
  const retry = { retryAfterMs: 5_000 };
  return refusal(
    "resource-constraint",
    "moves-limit",
    "other moves are under way: try again when they are over",
    retry,
  );
}
