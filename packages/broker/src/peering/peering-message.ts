/** What sites say to each other about their peering, next to what they burst by it. */
import type {
  Accept,
  Accepted,
  PeerState,
  PeerStateTaken,
  Refusal,
  Succession,
  SuccessionTaken,
} from "@muster/protocol";

export type PeeringRequest =
  | { readonly kind: "accept"; readonly body: Accept }
  | { readonly kind: "state"; readonly body: PeerState }
  | { readonly kind: "succession"; readonly body: Succession };

export type PeeringAnswer =
  | { readonly kind: "accepted"; readonly body: Accepted }
  | { readonly kind: "state-taken"; readonly body: PeerStateTaken }
  | { readonly kind: "succession-taken"; readonly body: SuccessionTaken };

/** How a question about the peering ended. `unknown`: it may have been heard; the same is asked again. */
export type PeeringOutcome =
  | { readonly kind: "answered"; readonly answer: PeeringAnswer }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "unknown"; readonly why: string };
