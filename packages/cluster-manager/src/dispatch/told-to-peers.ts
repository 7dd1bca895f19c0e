/** What a borrower hears of its VM here: where it stands and why, in words of ours that name no host (B5, S3). */
import type { VmRecord } from "../core/records.ts";

/** Reasons of the site's own people name hosts, paths and what libvirt said: none of it is a peer's business. */
export function reasonForPeer({ phase, wanted, attempt, place }: VmRecord): string | undefined {
  switch (phase) {
    case "queued":
      return attempt <= 1 ? "no host has room for it now" : "its host could not run it: another one is sought";
    case "in-doubt":
      return "its host is not heard";
    case "stopped":
      return wanted === "stopped" ? undefined : "it stopped by itself and is started again";
    case "refused":
      return "it could not be started";
    case "deleting":
      return place.kind === "none" ? undefined : "it is being removed";
    default:
      return undefined;
  }
}
