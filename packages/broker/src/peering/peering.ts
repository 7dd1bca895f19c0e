import type { LenderRules } from "@muster/protocol";

/** What a site agreed with a peer, by its own admin: the lender stays master (B5, default deny). */
export type LenderPolicy = LenderRules & {
  /** Whether requests of this peer are accepted at all. */
  readonly accept: boolean;
  /** Share of the site's total that this peer may hold and lease at once, 0 to 1. */
  readonly share: number;
  /** Longest lease granted at a time; renewals count anew. */
  readonly leaseMsMax: number;
  /** Most VMs of this peer at once, held and leased together. */
  readonly vmsMax: number;
  /** Images it may use, by tag or digest; empty means every image of the site. */
  readonly images: readonly string[];
};

/** By which keys a site and its peer speak to each other. */
export type PinnedPeer = {
  readonly domain: string;
  /** Ed25519 public key, JWK `x` (base64url), pinned (RFC 8037). */
  readonly publicKey: string;
  /** The key before it, while what that signed is still accepted. */
  readonly earlierKey?: string | undefined;
  /** The key of ours that the peer has pinned; the first one where nothing is said. */
  readonly signWith?: string | undefined;
};

/** `draining`: nothing new, and what runs is not renewed. */
export type PeeringState = "active" | "suspended" | "draining";

/** A peering: who the partner is, by which key it signs, what we grant it and whether we ask it for help. */
export type Peering = PinnedPeer & {
  readonly lend: LenderPolicy;
  /** Whether our own requests may burst there. */
  readonly borrow: boolean;
  readonly state: PeeringState;
  /** How the partner holds it, as it last said; absent: as active. */
  readonly partnerState?: PeeringState | undefined;
};

/** Whether our requests may go there: both sides hold the peering as active, and we mean to borrow. */
export function mayBorrow({ state, partnerState, borrow }: Peering): boolean {
  return borrow && state === "active" && (partnerState ?? "active") === "active";
}
