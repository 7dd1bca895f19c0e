import type { Result } from "@muster/base";
import { type PinnedPeer, type SiteKey, signBurst, verifyBurst } from "@muster/broker";
import type { Refusal } from "@muster/protocol";
import type { Element } from "ltx";

/** Signs what leaves for a peer and checks what came from one, by the keys pinned at peering (B5). */
export type PeerSeal = {
  /** Adds the signature; an answer is bound to its question. */
  seal(payload: Element, peer: Signing, question?: Element): Promise<Element>;
  /** Checks the signature and takes it off, so that the payload is what was signed. */
  open(payload: Element, peer: PinnedPeer, question?: Element): Promise<Result<Element, Refusal>>;
};

/** To whom it goes, and which public key of ours the other side knows. */
export type Signing = Pick<PinnedPeer, "domain" | "signWith">;

/**
 * The seal of the site `domain` with its own keys, as its file holds them now. The first one signs where a peer says
 * nothing else; where the key that a peer knows is missing, too: that peer refuses it then, and says so.
 */
export function peerSeal(domain: string, keys: () => readonly SiteKey[]): PeerSeal {
  const keyFor = ({ signWith }: Signing): SiteKey => {
    const all = keys();
    const [first] = all;
    const key = all.find(({ publicKey }) => publicKey === signWith) ?? first;
    if (key === undefined) throw new Error("the site has no key to sign with");
    return key;
  };
  return {
    seal: (payload, peer, question) => signBurst(payload, { from: domain, to: peer.domain, question }, keyFor(peer)),
    open: (payload, peer, question) => verifyBurst(payload, { from: peer.domain, to: domain, question }, peer),
  };
}
