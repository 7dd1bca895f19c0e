/** What every operation of a peer is checked against before it touches anything (B5): default deny. */
import {
  add,
  type Hold,
  type HoldImage,
  lacking,
  RESOURCE_KINDS,
  RESOURCE_WORDS,
  type Refusal,
  type Resources,
  refusal,
  resourcesOf,
  sum,
  type VmSpec,
} from "@muster/protocol";
import { burstDigest } from "../burst-digest.ts";
import type { Peering } from "../peering/peering.ts";
import { fetchLine, fetchRefusal } from "./image-fetch.ts";
import type { PeerBook } from "./lend-book.ts";
import { type LendTurn, put } from "./lend-turn.ts";

/** Most exchanges of one peer that are kept, closed ones included (S2). */
export const EXCHANGES_MAX = 10_000;
export const RETRY_MS = 5_000;

/**
 * `take` may use capacity: the peering must accept. `keep` goes on using it, and is refused lease by lease while the
 * peering is drained. `look` only reads. `end` gives capacity back: a peer that is known
 * may always do that, also while it is suspended.
 */
export type Need = "take" | "keep" | "look" | "end";

export type Permit =
  | { readonly ok: true; readonly peering: Peering }
  | { readonly ok: false; readonly refusal: Refusal };

/** Whether the peer may do this kind of thing at all. */
export function permit(turn: LendTurn, domain: string, need: Need): Permit {
  const peering = turn.env.peering(domain);
  if (peering === undefined)
    return denied("not-peered", `${domain} has no peering with this site; ask its admin for one`);
  if (need === "end") return { ok: true, peering };
  if (peering.state === "suspended") return denied("peering-suspended", `the peering with ${domain} is suspended here`);
  if (need === "take" && peering.state === "draining") return { ok: false, refusal: draining(domain) };
  if (need !== "look" && !peering.lend.accept) return { ok: false, refusal: notAccepting(domain) };
  return { ok: true, peering };
}

/** Refuses a term below one seen of this peer; a higher one is stored with the peer's newest record (L2). */
export function checkTerm(turn: LendTurn, peer: PeerBook, term: number): Refusal | undefined {
  if (term < peer.term)
    return refusal("stale-term", "stale-term", `a leader of term ${peer.term} of your site was heard here`, {
      field: "term",
    });
  if (term > peer.term) {
    peer.term = term;
    if (peer.newest !== undefined) put(turn, peer, peer.newest);
  }
  return undefined;
}

/** What is wrong with the hold itself, whatever else runs here. Not remembered: it is wrong every time. */
export function checkContent(hold: Hold): Refusal | undefined {
  if (hold.hops < 1)
    return refusal("policy-violation", "hops-exceeded", "a burst request is not burst again", { field: "hops" });
  if (hold.digest !== burstDigest(hold))
    return refusal("bad-request", "digest-mismatch", "the digest is not that of this hold", { field: "digest" });
  if (hold.image !== undefined && hold.image.digest !== hold.spec.image)
    return refusal("bad-request", "other-image", "the image that may be fetched is not the one of the VM", {
      field: "image.digest",
    });
  return undefined;
}

/** Why the image cannot be used. */
export function imageRefusal(
  { env }: LendTurn,
  { lend }: Peering,
  { image }: VmSpec,
  fetched: HoldImage | undefined,
): Refusal | undefined {
  const field = { field: "spec.image" };
  if (!env.images.includes(image) && (fetched === undefined || lend.imageFetch === undefined)) {
    const fetches = lend.imageFetch === undefined ? "" : `; ${fetchLine(lend.imageFetch)}, where the request says so`;
    return refusal("policy-violation", "unknown-image", `this site has no image ${image}${fetches}`, field);
  }
  if (lend.images.length > 0 && !lend.images.includes(image))
    return refusal("policy-violation", "image-not-granted", `image ${image} is not granted to your site`, field);
  if (!env.images.includes(image) && fetched !== undefined) return fetchRefusal(lend, fetched);
  return undefined;
}

/** What the share comes to, per kind, rounded down. */
export function shareOf(siteTotal: Resources, share: number): Resources {
  // A share of 0.29 of 100 is 29, not the 28.999… of binary fractions.
  const part = (amount: number) => Math.floor(amount * share + 1e-9);
  return {
    vcpus: part(siteTotal.vcpus),
    memoryMiB: part(siteTotal.memoryMiB),
    diskGiB: part(siteTotal.diskGiB),
    gpus: part(siteTotal.gpus),
  };
}

/** What the peer holds and leases now, VMs that are being removed included. */
export function takenBy(peer: PeerBook): Resources {
  return sum([...peer.open.values()].flatMap(({ hold }) => (hold === undefined ? [] : [resourcesOf(hold.spec)])));
}

/** Whether the VM goes beyond the share of the site that the peer may have. */
export function checkShare(turn: LendTurn, peer: PeerBook, peering: Peering, spec: VmSpec): Refusal | undefined {
  const limit = shareOf(turn.env.siteTotal, peering.lend.share);
  const wanted = resourcesOf(spec);
  const never = lacking(limit, wanted);
  if (never !== undefined)
    return refusal(
      "policy-violation",
      "above-share",
      `your site's share here is ${limit[never]} ${RESOURCE_WORDS[never]}; the VM wants ${wanted[never]}`,
      { field: `spec.${never}` },
    );
  const total = add(takenBy(peer), wanted);
  const full = RESOURCE_KINDS.find((kind) => wanted[kind] > 0 && total[kind] > limit[kind]);
  if (full === undefined) return undefined;
  return refusal(
    "resource-constraint",
    "share-exceeded",
    `your site's share here is ${limit[full]} ${RESOURCE_WORDS[full]}; with this VM it would be ${total[full]}`,
    { field: `spec.${full}`, retryAfterMs: RETRY_MS },
  );
}

export function notAccepting(domain: string): Refusal {
  return refusal("forbidden", "not-accepting", `this site does not take requests of ${domain}`);
}

/** The peering comes to its end: nothing new, and what runs ends with its lease. */
export function draining(domain: string): Refusal {
  return refusal("forbidden", "peering-draining", `the peering with ${domain} is being drained: leases run out here`);
}

function denied(reason: string, message: string): Permit {
  return { ok: false, refusal: refusal("forbidden", reason, message) };
}
