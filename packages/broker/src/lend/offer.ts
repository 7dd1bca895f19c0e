import { LEASE_MS_MAX, NO_RESOURCES, type Offer, RESOURCE_KINDS, type Resources, subtract } from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { shareOf, takenBy } from "./admission.ts";
import type { PeerBook } from "./lend-book.ts";
import { answered, type LendTurn, type Reply } from "./lend-turn.ts";
import { closedNow, quotaLeft } from "./rules.ts";

const IMAGES_MAX = 100;

/** What this peer could get now: its share less what it has, and never more than the site has free. Promises nothing. */
export function answerOffer(turn: LendTurn, peer: PeerBook, peering: Peering): Reply {
  return answered({ kind: "offer", body: offerTo(turn, peer, peering) });
}

export function offerTo(turn: LendTurn, peer: PeerBook, peering: Peering): Offer {
  const { env } = turn;
  const { lend } = peering;
  const why = closedNow(turn, peer, peering);
  const taken = takenBy(peer);
  const left = quotaLeft(peering, subtract(shareOf(env.siteTotal, lend.share), taken), taken);
  const free = why === undefined ? least(left, env.siteFree) : NO_RESOURCES;
  return {
    accepting: why === undefined,
    ...(why === undefined ? {} : { reason: why }),
    free,
    largest: least(free, env.largest),
    leaseMsMax: Math.max(0, Math.min(LEASE_MS_MAX, Math.floor(lend.leaseMsMax))),
    images: env.images.filter((image) => lend.images.length === 0 || lend.images.includes(image)).slice(0, IMAGES_MAX),
    revision: peer.revision,
    agent: env.agent.slice(0, 64),
    ...(lend.prices === undefined ? {} : { prices: lend.prices }),
    ...(lend.networks === "tunnel" ? { tunnels: true } : {}),
    ...(lend.imageFetch === undefined ? {} : { fetchesImages: true }),
  };
}

function least(left: Resources, right: Resources): Resources {
  const smaller = RESOURCE_KINDS.map((kind) => [kind, Math.min(left[kind], right[kind])] as const);
  return { ...NO_RESOURCES, ...Object.fromEntries(smaller) };
}
