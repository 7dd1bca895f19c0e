import { isDeepStrictEqual } from "node:util";
import { isFinal, type LeaseState, type VmPhase } from "@muster/protocol";
import { isSameEnd } from "../tunnel-end.ts";
import { removalDone } from "./expiry.ts";
import { change, type LendTurn, notify } from "./lend-turn.ts";
import type { LenderEvent } from "./lender-contract.ts";
import { sumUp } from "./vm-hours.ts";

/** Takes in where the leased VM stands at home and tells its borrower; a final phase closes the exchange for good. */
export function takeVmChange(turn: LendTurn, event: LenderEvent & { readonly kind: "vm-changed" }): void {
  const peer = turn.book.peers.get(event.peer);
  const known = peer?.open.get(event.id);
  if (peer === undefined || known === undefined || known.stage === "held") return;
  const vmPhase = seenPhase(event.phase);
  const stage = isFinal(event.phase) ? "released" : known.stage;
  // As long as the lease lasts the reason is that of the VM as it stands now; later on, that of the end.
  const reason = known.stage === "leased" ? event.reason : (known.reason ?? event.reason);
  const { address } = event;
  const access = address === undefined ? undefined : event.access;
  const same = isDeepStrictEqual(access, known.access) && address === known.address;
  if (same && stage === known.stage && vmPhase === known.vmPhase && reason === known.reason) return;
  if (stage === "released") sumUp(turn, peer, known);
  const changed = change(turn, peer, { ...known, stage, vmPhase, address, access, reason });
  if (stage === "released") removalDone(turn, changed);
  notify(turn, changed);
}

/** Takes in where the leased VM's end of the tunnel is and tells its borrower, who brings its own in line. */
export function takeTunnelEnd(turn: LendTurn, event: LenderEvent & { readonly kind: "tunnel-end" }): void {
  const peer = turn.book.peers.get(event.peer);
  const known = peer?.open.get(event.id);
  if (peer === undefined || known?.stage !== "leased" || known.tunnel === undefined) return;
  if (isSameEnd(known.tunnelEnd, event.end)) return;
  notify(turn, change(turn, peer, { ...known, tunnelEnd: event.end }));
}

/** A borrower is told of fewer ends than a user at home: it did not cancel, and it does not wait here. */
function seenPhase(phase: VmPhase): NonNullable<LeaseState["vm"]> {
  if (phase === "cancelled") return "deleted";
  if (phase === "expired") return "refused";
  return phase;
}
