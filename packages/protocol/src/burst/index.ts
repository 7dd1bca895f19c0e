/** What sites say to each other about a VM that one runs for the other. */
export {
  type Held,
  HOLD_IMAGE_URLS_MAX,
  HOLD_MS_MAX,
  type Hold,
  type HoldImage,
  heldMessage,
  heldSchema,
  holdImageSchema,
  holdMessage,
  holdSchema,
  LEASE_MS_MAX,
} from "./hold.ts";
export {
  LEASES_BATCH_MAX,
  type Leased,
  type LeaseRequest,
  leasedMessage,
  leasedSchema,
  leaseMessage,
  leaseSchema,
  type Release,
  type Released,
  type Renew,
  type Renewed,
  type RenewedLease,
  releasedMessage,
  releasedSchema,
  releaseMessage,
  releaseSchema,
  renewedMessage,
  renewedSchema,
  renewMessage,
  renewSchema,
} from "./lease.ts";
export {
  type ExchangeStage,
  exchangeStageSchema,
  type LeaseNotice,
  type LeaseState,
  leaseNoticeMessage,
  leaseNoticeSchema,
  leaseStateFields,
  leaseStateSchema,
  type Pull,
  type Pulled,
  pulledMessage,
  pulledSchema,
  pullMessage,
  pullSchema,
} from "./lease-state.ts";
export {
  type PeerMove,
  type PeerMoved,
  peerMovedMessage,
  peerMovedSchema,
  peerMoveMessage,
  peerMoveSchema,
} from "./move-step.ts";
export {
  type Offer,
  type OfferQuery,
  offerMessage,
  offerQueryMessage,
  offerQuerySchema,
  offerSchema,
} from "./offer.ts";
export { attachSignature, detachSignature } from "./signature.ts";
export {
  coarse,
  type Maintenance,
  maintenanceSchema,
  SHOWN_CLASSES_MAX,
  type SitePresence,
  sitePresenceMessage,
  sitePresenceSchema,
} from "./site-presence.ts";
export {
  type LeaseTunnel,
  leaseTunnelSchema,
  type TunnelReach,
  tunnelReachSchema,
} from "./tunnel.ts";
