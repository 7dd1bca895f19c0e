/** What a site agreed with a peer, from its own configuration: the lender stays master (B5, default deny). */
export type LenderPolicy = {
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

/** A peering: who the partner is, by which key it signs, what we grant it and whether we ask it for help. */
export type Peering = {
  readonly domain: string;
  /** Ed25519 public key, JWK `x` (base64url), pinned (RFC 8037). */
  readonly publicKey: string;
  readonly lend: LenderPolicy;
  /** Whether our own requests may burst there. */
  readonly borrow: boolean;
  readonly state: "active" | "suspended";
};
