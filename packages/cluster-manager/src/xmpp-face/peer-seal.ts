import type { Result } from "@muster/base";
import { type Peering, type SiteKey, signBurst, verifyBurst } from "@muster/broker";
import type { Refusal } from "@muster/protocol";
import type { Element } from "ltx";

/** Signs what leaves for a peer and checks what came from one, by the keys pinned at peering (B5). */
export type PeerSeal = {
  /** Adds the signature; an answer is bound to its question. */
  seal(payload: Element, peer: Peering, question?: Element): Promise<Element>;
  /** Checks the signature and takes it off, so that the payload is what was signed. */
  open(payload: Element, peer: Peering, question?: Element): Promise<Result<Element, Refusal>>;
};

/** The seal of the site `domain` with its own key. */
export function peerSeal(domain: string, key: SiteKey): PeerSeal {
  return {
    seal: (payload, peer, question) => signBurst(payload, { from: domain, to: peer.domain, question }, key),
    open: (payload, peer, question) => verifyBurst(payload, { from: peer.domain, to: domain, question }, peer),
  };
}
