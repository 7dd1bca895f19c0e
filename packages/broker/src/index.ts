/** Deals with peer sites. Pure state machines for both sides, and what the border needs: codec, digest, signatures. */
export { BORROW_TIMING, type BorrowTiming } from "./borrow/borrow-timing.ts";
export { createBorrower } from "./borrow/borrower.ts";
export type {
  Borrower,
  BorrowerChange,
  BorrowerEffect,
  BorrowerEnv,
  BorrowerEvent,
  BorrowerStep,
  BorrowRecord,
  BorrowTunnel,
  BorrowWant,
  Budget,
  PeerStanding,
  SpentRecord,
  Terms,
  TunnelWish,
} from "./borrow/borrower-contract.ts";
export { RANK_FIGURES, type RankWeights, rankWeightsOf } from "./borrow/rank-peers.ts";
export {
  BURST_IQ_TYPES,
  decodeBurstAnswer,
  decodeBurstNotice,
  decodeBurstRequest,
  encodeBurstAnswer,
  encodeBurstNotice,
  encodeBurstRequest,
} from "./burst-codec.ts";
export { burstDigest } from "./burst-digest.ts";
export type {
  BurstAnswer,
  BurstNotice,
  BurstOutcome,
  BurstRequest,
  LedgerRequest,
  PeerRequest,
} from "./burst-message.ts";
export { favourShare } from "./ledger/balance.ts";
export { createLedger, type LedgerOptions } from "./ledger/ledger.ts";
export {
  type Favour,
  LEDGER_TIMING,
  type Ledger,
  type LedgerChange,
  type LedgerEffect,
  type LedgerEnv,
  type LedgerEvent,
  type LedgerStep,
  type LedgerTiming,
} from "./ledger/ledger-contract.ts";
export {
  type BookRecord,
  bookKey,
  type Evidence,
  type LedgerRecord,
  type MeterRecord,
  meterKey,
  receiptKey,
} from "./ledger/ledger-record.ts";
export { createLedgerCheck, FINDINGS_MAX, type LedgerCheck, type LedgerCheckOptions } from "./ledger/verify.ts";
export { urlsAllowed } from "./lend/image-fetch.ts";
export { createLender } from "./lend/lender.ts";
export type {
  HeldCapacity,
  Lender,
  LenderChange,
  LenderEffect,
  LenderEnv,
  LenderEvent,
  LenderStep,
  LendRecord,
  WishExtras,
} from "./lend/lender-contract.ts";
export { SIMULATED_STEPS_MAX, type SimulatedSite, simulatePolicy } from "./lend/simulate.ts";
export {
  type Conduct,
  forgive,
  newConduct,
  noteOffence,
  notePromise,
  OFFENCES,
  type Offence,
  reliabilityOf,
  suspensionBy,
} from "./peering/conduct.ts";
export {
  checkInvitation,
  type InvitationClaim,
  proofKeyOf,
  proveInvitation,
} from "./peering/invitation-proof.ts";
export {
  generateSiteKey,
  isPublicKey,
  jwkOf,
  keyFingerprint,
  pemOf,
  type SiteJwk,
  type SiteKey,
  siteKeyFromJwk,
  siteKeyFromPem,
} from "./peering/keys.ts";
export { type LenderPolicy, mayBorrow, type Peering, type PeeringState, type PinnedPeer } from "./peering/peering.ts";
export {
  decodePeeringAnswer,
  decodePeeringRequest,
  encodePeeringAnswer,
  encodePeeringRequest,
  PEERING_REQUESTS,
} from "./peering/peering-codec.ts";
export type { PeeringAnswer, PeeringOutcome, PeeringRequest } from "./peering/peering-message.ts";
export { type SignedRoute, signBurst, verifyBurst } from "./peering/signature.ts";
