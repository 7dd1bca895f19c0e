/** What a borrower hears of its VM here: where it stands and why, in words of ours that name no host (B5, S3). */
import type { MoveState, Refusal } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";

const NOT_STARTED = "it could not be started";
/** The one thing that the peer can see to. */
const IMAGE_OF_THEIRS = `${NOT_STARTED}; its image is fetched from your site: see that it is there, under its digest`;

/**
 * Reasons of the site's own people name hosts, paths and what libvirt said: none of it is a peer's business. `fetched`: its
 * image comes from the peer.
 */
export function reasonForPeer({ phase, wanted, attempt, place }: VmRecord, fetched = false): string | undefined {
  switch (phase) {
    case "queued":
      return attempt <= 1 ? "no host has room for it now" : "its host could not run it: another one is sought";
    case "in-doubt":
      return "its host is not heard";
    case "stopped":
      return wanted === "stopped" ? undefined : "it stopped by itself and is started again";
    case "refused":
      return fetched ? IMAGE_OF_THEIRS : NOT_STARTED;
    case "deleting":
      return place.kind === "none" ? undefined : "it is being removed";
    default:
      return undefined;
  }
}

/** The refusal of a host, for the peer that asked for the step: of what kind it is, not in the host's words. */
export function refusalForPeer({ kind, reason, retryAfterMs }: Refusal): Refusal {
  const message = `the VM's host refuses this step: ${reason}`;
  return { kind, reason, message, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** How a step stands at a host, for the peer that steers the move. */
export function moveStateForPeer(state: MoveState): MoveState {
  return state.reason === undefined ? state : { ...state, reason: "the VM's host could not carry this step out" };
}
