import {
  add,
  type CandidateView,
  lacking,
  NO_RESOURCES,
  RESOURCE_WORDS,
  type Refusal,
  type Resources,
  refusal,
  resourcesOf,
  subtract,
  type VmSpec,
} from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { type BorrowBook, exchangesAt, type PeerState } from "./borrow-book.ts";
import type { BorrowerEnv, Terms } from "./borrower-contract.ts";
import { overBudget, text } from "./budget.ts";
import { isClosed } from "./offers.ts";
import { pricePerHour, rankOf } from "./rank-peers.ts";

/** Length at which an offer's list of images may be cut short: then it proves nothing about an image it lacks. */
const IMAGES_MAX = 100;
const LEASE_MS_LEAST = 1_000;

/** The candidate table for a spec, best first: filters give reasons, the rest is ranked (P4). */
export function candidatesFor(
  book: BorrowBook,
  env: ChoiceEnv,
  wish: Terms & { readonly spec: VmSpec },
  refusals: ReadonlyMap<string, Refusal> = new Map(),
): CandidateView[] {
  const peerings = [...env.peerings()];
  const prices = peerings.map(({ domain }) => {
    const state = book.peers.get(domain);
    return state === undefined ? 0 : pricePerHour(state, wish.spec);
  });
  const priceMax = Math.max(0, ...prices);
  const views = peerings.map((peering) => viewOf({ book, env, wish, priceMax }, peering, refusals.get(peering.domain)));
  return views.sort(byRank);
}

type ChoiceEnv = Pick<BorrowerEnv, "nowMs" | "peerings" | "budget" | "favour" | "reliability" | "rankWeights">;
type Choice = {
  readonly book: BorrowBook;
  readonly env: ChoiceEnv;
  readonly wish: Terms & { readonly spec: VmSpec };
  readonly priceMax: number;
};

/** Why the price is too high for who asks. */
export function overPrice(perHour: number, maxPerHour: number | undefined): Refusal | undefined {
  if (maxPerHour === undefined || perHour <= maxPerHour) return undefined;
  const message = `it costs ${text(perHour)} an hour; at most ${text(maxPerHour)} is to be paid`;
  return refusal("policy-violation", "over-price", message);
}

/** Higher score first; equal scores by domain, so that the choice can be repeated and explained. */
function byRank(left: CandidateView, right: CandidateView): number {
  return (right.score ?? -1) - (left.score ?? -1) || (left.name < right.name ? -1 : left.name > right.name ? 1 : 0);
}

function viewOf(choice: Choice, peering: Peering, refused: Refusal | undefined): CandidateView {
  const { book, env, wish, priceMax } = choice;
  const { spec } = wish;
  const name = peering.domain;
  const state = book.peers.get(name);
  const why = refused ?? notAsked(peering) ?? notOffered(book, state, wish) ?? tooDear(choice, state);
  if (why !== undefined || state === undefined)
    return candidateRefused(name, why ?? refusal("unavailable", "unreachable", "the peer was not asked yet"));
  const free = freeAt(book, state);
  const openThere = exchangesAt(book, name).length;
  const favour = env.favour?.(name) ?? 0.5;
  const reliability = env.reliability?.(name) ?? 1;
  const score = rankOf({ state, free, openThere, spec, favour, reliability, priceMax }, env.rankWeights);
  const perHour = pricePerHour(state, spec);
  const costs = perHour === 0 ? "" : `; costs ${text(perHour)} an hour`;
  return {
    kind: "peer",
    name,
    verdict: "possible",
    message: `offers ${free.vcpus} vCPUs, ${free.memoryMiB} MiB memory, ${free.diskGiB} GiB disk${costs}`,
    score,
    ...(state.offer?.prices === undefined ? {} : { pricePerHour: perHour }),
  };
}

function candidateRefused(name: string, why: Refusal): CandidateView {
  return { kind: "peer", name, verdict: "refused", reason: why.reason, message: why.message };
}

function tooDear({ book, env, wish }: Choice, state: PeerState | undefined): Refusal | undefined {
  const { spec, project, leaseMs, maxPricePerHour } = wish;
  if (state === undefined) return undefined;
  const dear = overPrice(pricePerHour(state, spec), maxPricePerHour);
  if (dear !== undefined || project === undefined) return dear;
  const prices = state.offer?.prices;
  const lease = { project, spec, prices, leaseMs: Math.min(leaseMs ?? LEASE_MS_LEAST, state.offer?.leaseMsMax ?? 0) };
  return overBudget(book, env.budget?.(project), lease, env.nowMs);
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

function notOffered(
  book: BorrowBook,
  state: PeerState | undefined,
  { spec, tunnel, image }: Choice["wish"],
): Refusal | undefined {
  if (state !== undefined && isClosed(state)) return closedBy(state);
  if (state === undefined || state.reachable !== "yes")
    return refusal("unavailable", "unreachable", "the peer did not answer when last asked");
  const { offer } = state;
  if (offer === undefined) return state.refusal ?? refusal("unavailable", "no-offer", "the peer has made no offer yet");
  if (!offer.accepting) return refusal("unavailable", "not-accepting", offer.reason ?? "the peer takes nothing in now");
  if (tunnel !== undefined && offer.tunnels !== true)
    return refusal("policy-violation", "no-tunnels", "VMs of ours are not put on their home network there");
  if (offer.leaseMsMax < LEASE_MS_LEAST)
    return refusal("policy-violation", "no-lease-granted", "the peer grants no lease");
  const has = offer.images.length >= IMAGES_MAX || offer.images.includes(spec.image);
  if (!has && (image === undefined || offer.fetchesImages !== true))
    return refusal("policy-violation", "image-not-offered", `the peer does not offer image ${spec.image}`);
  return lacksRoom(book, state, spec);
}

/** As its presence says. */
function closedBy({ presence }: PeerState): Refusal {
  const { maintenance, reason } = presence ?? {};
  if (maintenance === undefined)
    return refusal("unavailable", "not-accepting", reason ?? "the peer takes nothing in now");
  const until = maintenance.until === undefined ? "" : ` until ${maintenance.until}`;
  return refusal("unavailable", "maintenance", `the peer announced maintenance${until}: ${maintenance.reason}`);
}

function lacksRoom(book: BorrowBook, state: PeerState, spec: VmSpec): Refusal | undefined {
  const wanted = resourcesOf(spec);
  const free = freeAt(book, state);
  const short = lacking(free, wanted);
  if (short !== undefined)
    return refusal(
      "resource-constraint",
      `lacks-${WORDS[short]}`,
      `offers ${free[short]} ${RESOURCE_WORDS[short]}; the VM wants ${wanted[short]}`,
    );
  const large = lacking(state.offer?.largest ?? NO_RESOURCES, wanted);
  if (large === undefined) return undefined;
  return refusal(
    "resource-constraint",
    "too-large",
    `its largest VM now has ${state.offer?.largest[large] ?? 0} ${RESOURCE_WORDS[large]}; this one wants ${wanted[large]}`,
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
