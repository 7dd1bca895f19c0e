import type {
  Held,
  Hold,
  Leased,
  LeaseRequest,
  LeaseState,
  Offer,
  OfferQuery,
  PeerMove,
  PeerMoved,
  Pull,
  Pulled,
  Receipts,
  Refusal,
  Release,
  Released,
  Renew,
  Renewed,
  Verdicts,
} from "@muster/protocol";

/** What one site asks of another, decoded and with its signature verified at the border (S1, B5). */
export type PeerRequest = BurstRequest | LedgerRequest;

/** What a lender asks of its borrower: a verdict on its receipts. */
export type LedgerRequest = { readonly kind: "receipts"; readonly body: Receipts };

/** What a borrower asks of a lender. */
export type BurstRequest =
  | { readonly kind: "offer-query"; readonly body: OfferQuery }
  | { readonly kind: "hold"; readonly body: Hold }
  | { readonly kind: "lease"; readonly body: LeaseRequest }
  | { readonly kind: "renew"; readonly body: Renew }
  | { readonly kind: "release"; readonly body: Release }
  | { readonly kind: "move-step"; readonly body: PeerMove }
  | { readonly kind: "pull"; readonly body: Pull };

/** What is answered; `verdicts` by a borrower, the others by a lender. */
export type BurstAnswer =
  | { readonly kind: "verdicts"; readonly body: Verdicts }
  | { readonly kind: "offer"; readonly body: Offer }
  | { readonly kind: "held"; readonly body: Held }
  | { readonly kind: "leased"; readonly body: Leased }
  | { readonly kind: "renewed"; readonly body: Renewed }
  | { readonly kind: "released"; readonly body: Released }
  | { readonly kind: "move-stepped"; readonly body: PeerMoved }
  | { readonly kind: "pulled"; readonly body: Pulled };

/** How a question to a peer ended. `unknown`: no answer; the peer may have acted, so ask again under the same id (B2). */
export type BurstOutcome =
  | { readonly kind: "answered"; readonly answer: BurstAnswer }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "unknown" };

/** States pushed by a lender; may be lost, repeated or late: the revision decides. */
export type BurstNotice = { readonly states: readonly LeaseState[] };
