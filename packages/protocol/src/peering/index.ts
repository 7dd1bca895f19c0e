/** All that is said about a peering: between sites, in the token of an invitation, and to admins. */
export {
  type AcceptanceView,
  acceptanceViewSchema,
  type ConductView,
  conductViewSchema,
  INVITATION_MS_MAX,
  type InvitationView,
  invitationViewSchema,
  keyRotateSchema,
  type LendChange,
  lendChangeSchema,
  PEER_VERBS,
  type PeerAcceptInput,
  type PeerInviteInput,
  type PeerPolicyChange,
  type PeerPolicyView,
  type PeerVerb,
  type PeerView,
  peerAcceptSchema,
  peerInviteSchema,
  peerPolicyChangeSchema,
  peerPolicySchema,
  peerReasonSchema,
  peerVerbSchema,
  peerViewSchema,
  type SiteKeyView,
  siteKeyViewSchema,
} from "../api/peer.ts";
export {
  type Accept,
  type Accepted,
  acceptedMessage,
  acceptedSchema,
  acceptMessage,
  acceptSchema,
} from "./accept.ts";
export { decodeInvitation, encodeInvitation, type Invitation, invitationSchema } from "./invitation.ts";
export {
  type PeerState,
  type PeerStateTaken,
  peerStateMessage,
  peerStateSchema,
  peerStateTakenMessage,
  type SaidState,
  saidStateSchema,
} from "./peer-state.ts";
export { accountAddressSchema, partnerAccount, REACH_RESOURCE, type ReachOffer } from "./reach.ts";
export { keySequenceSchema, sitePublicKeySchema } from "./site-key.ts";
export {
  KEY_OVERLAP_MS_MAX,
  type Succession,
  type SuccessionTaken,
  successionMessage,
  successionTakenMessage,
} from "./succession.ts";
export { PERMILLE, type PeerTerms, peerTermsSchema, TERMS_IMAGES_MAX } from "./terms.ts";
