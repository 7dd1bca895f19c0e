import { type Renew, type RenewedLease, refusal } from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { draining } from "./admission.ts";
import { exchangeOver } from "./hold.ts";
import { grantedMs } from "./lease.ts";
import { leaseStateOf } from "./lease-state-of.ts";
import { findIn, type PeerBook } from "./lend-book.ts";
import { answered, type LendTurn, put, type Reply } from "./lend-turn.ts";
import type { LendRecord } from "./lender-contract.ts";
import { renewalRefusal } from "./rules.ts";

/**
 * Extends leases from now, each by itself: one that is over does not hold up the rest. A lease may be renewed as long as
 * its VM is there, also within its grace: a short cut of the line costs nobody a VM (B4).
 */
export function answerRenew(turn: LendTurn, peer: PeerBook, peering: Peering, renew: Renew): Reply {
  const leases = renew.leases.map((asked) => renewOne(turn, peer, peering, asked));
  return answered({ kind: "renewed", body: { leases } });
}

function renewOne(turn: LendTurn, peer: PeerBook, peering: Peering, asked: Renew["leases"][number]): RenewedLease {
  const { id } = asked;
  const known = findIn(peer, id);
  if (known === undefined)
    return { id, refusal: refusal("item-not-found", "unknown-lease", `no lease ${id} of your site is known here`) };
  if (known.stage === "leased" && peering.state === "draining")
    return { id, state: leaseStateOf(known, turn.env.nowMs), refusal: draining(peering.domain) };
  const refused = known.stage === "leased" ? renewalRefusal(turn, peer, peering, askedOf(peering, asked)) : undefined;
  if (refused !== undefined) return { id, state: leaseStateOf(known, turn.env.nowMs), refusal: refused };
  if (known.stage === "leased")
    return { id, state: leaseStateOf(extend(turn, peer, peering, asked, known), turn.env.nowMs) };
  const state = leaseStateOf(known, turn.env.nowMs);
  if (known.stage === "held")
    return { id, state, refusal: refusal("conflict", "not-leased", `${id} is held, not leased`) };
  return { id, state, refusal: exchangeOver(known) };
}

function askedOf(peering: Peering, { id, leaseMs }: Renew["leases"][number]) {
  return { id, leaseMs: grantedMs(peering, leaseMs) };
}

function extend(
  turn: LendTurn,
  peer: PeerBook,
  peering: Peering,
  asked: Renew["leases"][number],
  known: LendRecord,
): LendRecord {
  const leaseMs = grantedMs(peering, asked.leaseMs);
  // A repeat that comes late, or a policy that shrank, never takes back what was granted.
  const expiresAtMs = Math.max(known.expiresAtMs, turn.env.nowMs + leaseMs);
  const renewed = put(turn, peer, {
    ...known,
    leaseMs,
    expiresAtMs,
    renewals: known.renewals + 1,
    wanted: asked.wanted,
    // The borrower's end is at another gateway now.
    ...(known.tunnel === undefined || asked.tunnel === undefined
      ? {}
      : { tunnel: { ...known.tunnel, end: asked.tunnel } }),
  });
  if (known.wanted !== asked.wanted) turn.effects.push({ kind: "want", record: renewed, wanted: asked.wanted });
  return renewed;
}
