import {
  add,
  type CandidateView,
  lacking,
  NO_RESOURCES,
  RESOURCE_KINDS,
  type Refusal,
  type Resources,
  refusal,
  resourcesOf,
  subtract,
  type VmSpec,
} from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { type BorrowBook, exchangesAt, type PeerState } from "./borrow-book.ts";

/** Length at which an offer's list of images may be cut short: then it proves nothing about an image it lacks. */
const IMAGES_MAX = 100;
const LEASE_MS_LEAST = 1_000;

/** The candidate table for a spec, best first: filters give reasons, the rest is ranked (P4). */
export function candidatesFor(
  book: BorrowBook,
  peerings: Iterable<Peering>,
  spec: VmSpec,
  refusals: ReadonlyMap<string, Refusal> = new Map(),
): CandidateView[] {
  const views = [...peerings].map((peering) => viewOf(book, peering, spec, refusals.get(peering.domain)));
  return views.sort(byRank);
}

/** Higher score first; equal scores by domain, so that the choice can be repeated and explained. */
function byRank(left: CandidateView, right: CandidateView): number {
  return (right.score ?? -1) - (left.score ?? -1) || (left.name < right.name ? -1 : left.name > right.name ? 1 : 0);
}

function viewOf(book: BorrowBook, peering: Peering, spec: VmSpec, refused: Refusal | undefined): CandidateView {
  const name = peering.domain;
  const state = book.peers.get(name);
  const why = refused ?? notAsked(peering) ?? notOffered(book, state, spec);
  if (why !== undefined) return { kind: "peer", name, verdict: "refused", reason: why.reason, message: why.message };
  const free = freeAt(book, state);
  const score = scoreOf(free, spec, exchangesAt(book, name).length);
  return {
    kind: "peer",
    name,
    verdict: "possible",
    message: `offers ${free.vcpus} vCPUs, ${free.memoryMiB} MiB memory, ${free.diskGiB} GiB disk`,
    score,
  };
}

/** How many such VMs the peer still has room for, shared among those that we have there already. */
function scoreOf(free: Resources, spec: VmSpec, openThere: number): number {
  const wanted = resourcesOf(spec);
  const fits = Math.min(...RESOURCE_KINDS.filter((kind) => wanted[kind] > 0).map((kind) => free[kind] / wanted[kind]));
  return Math.round((fits / (1 + openThere)) * 1_000) / 1_000;
}

function notAsked(peering: Peering): Refusal | undefined {
  if (peering.state === "suspended")
    return refusal("forbidden", "peering-suspended", "the peering is suspended; activate it to burst there");
  if (peering.state === "draining")
    return refusal("forbidden", "peering-draining", "the peering is being drained; resume it to burst there");
  if (peering.partnerState === "suspended" || peering.partnerState === "draining")
    return refusal(
      "forbidden",
      `peer-${peering.partnerState}`,
      `the peer holds the peering as ${peering.partnerState}`,
    );
  if (!peering.borrow) return refusal("forbidden", "no-borrow", "the peering does not let our requests burst there");
  return undefined;
}

function notOffered(book: BorrowBook, state: PeerState | undefined, spec: VmSpec): Refusal | undefined {
  if (state === undefined || state.reachable !== "yes")
    return refusal("unavailable", "unreachable", "the peer did not answer when last asked");
  const { offer } = state;
  if (offer === undefined) return state.refusal ?? refusal("unavailable", "no-offer", "the peer has made no offer yet");
  if (!offer.accepting) return refusal("unavailable", "not-accepting", offer.reason ?? "the peer takes nothing in now");
  if (offer.leaseMsMax < LEASE_MS_LEAST)
    return refusal("policy-violation", "no-lease-granted", "the peer grants no lease");
  if (offer.images.length < IMAGES_MAX && !offer.images.includes(spec.image))
    return refusal("policy-violation", "image-not-offered", `the peer does not offer image ${spec.image}`);
  return lacksRoom(book, state, spec);
}

function lacksRoom(book: BorrowBook, state: PeerState, spec: VmSpec): Refusal | undefined {
  const wanted = resourcesOf(spec);
  const free = freeAt(book, state);
  const short = lacking(free, wanted);
  if (short !== undefined)
    return refusal(
      "resource-constraint",
      `lacks-${WORDS[short]}`,
      `offers ${free[short]} of ${short}; the VM wants ${wanted[short]}`,
    );
  const large = lacking(state.offer?.largest ?? NO_RESOURCES, wanted);
  if (large === undefined) return undefined;
  return refusal(
    "resource-constraint",
    "too-large",
    `its largest VM now has ${state.offer?.largest[large] ?? 0} of ${large}; this one wants ${wanted[large]}`,
  );
}

const WORDS = { vcpus: "vcpus", memoryMiB: "memory", diskGiB: "disk", gpus: "gpus" } as const;

/** The offer less what we asked for since: a peer cannot have counted that yet. */
function freeAt(book: BorrowBook, state: PeerState | undefined): Resources {
  if (state?.offer === undefined) return NO_RESOURCES;
  const asked = exchangesAt(book, state.domain)
    .filter(({ record }) => record.stage === "holding" || record.stage === "leasing")
    .filter(({ record }) => record.changedAtMs >= state.offerAskedMs)
    .reduce((total, { record }) => add(total, resourcesOf(record.spec)), NO_RESOURCES);
  return subtract(state.offer.free, asked);
}
