/** What is said between hosts, managers, peers, users: the whole vocabulary of Muster. No I/O. */
export {
  bareOf,
  cloudAddress,
  domainOf,
  hostAccount,
  hostContact,
  localOf,
  managerAddress,
  siteOfCloud,
  vmContact,
} from "./address.ts";
export {
  decodeJoinBundle,
  encodeJoinBundle,
  type JoinBundle,
  joinBundleSchema,
  xmppServiceSchema,
} from "./api/join-bundle.ts";
export { EXIT_CODE, HTTP_STATUS, type Problem, problemOf, problemSchema } from "./api/problem.ts";
export {
  type Enrolment,
  type EventView,
  enrolmentSchema,
  eventViewSchema,
  type HostView,
  hostViewSchema,
  type LeaseView,
  type Liveness,
  leaseViewSchema,
  livenessSchema,
  PAGE_MAX,
  type Page,
  type PeerView,
  pageOf,
  peerViewSchema,
  type QueueEntry,
  queueEntrySchema,
  type SiteView,
  type StepDownView,
  siteViewSchema,
  stepDownViewSchema,
} from "./api/site.ts";
export {
  type BurstChoice,
  burstChoiceSchema,
  type CandidateView,
  candidateViewSchema,
  type Explanation,
  explanationSchema,
  originViewSchema,
  placeViewSchema,
  REQUEST_VMS_MAX,
  type RequestView,
  requestViewSchema,
  type VmAction,
  type VmCreate,
  type VmCreateInput,
  type VmView,
  vmActionSchema,
  vmCreateSchema,
  vmViewSchema,
} from "./api/vm.ts";
export {
  type Held,
  HOLD_MS_MAX,
  type Hold,
  heldMessage,
  heldSchema,
  holdMessage,
  holdSchema,
  LEASE_MS_MAX,
} from "./burst/hold.ts";
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
} from "./burst/lease.ts";
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
} from "./burst/lease-state.ts";
export {
  type Offer,
  type OfferQuery,
  offerMessage,
  offerQueryMessage,
  offerQuerySchema,
  offerSchema,
} from "./burst/offer.ts";
export { attachSignature, detachSignature } from "./burst/signature.ts";
export { canonicalText } from "./canonical.ts";
export { digestOf } from "./digest.ts";
export {
  type Capacity,
  capacityMessage,
  capacitySchema,
  type HostVm,
  hostVmFields,
  hostVmSchema,
} from "./host/capacity.ts";
export {
  type Command,
  type CommandAction,
  type CommandOutcome,
  type CommandSubject,
  commandActionSchema,
  commandMessage,
  commandOutcomeMessage,
  commandOutcomeSchema,
  commandSchema,
  commandSubjectSchema,
} from "./host/command.ts";
export {
  type Attachment,
  attachmentSchema,
  type Guest,
  type GuestImage,
  type GuestNic,
  guestFields,
  guestImageSchema,
  guestNicSchema,
  guestSchema,
  IMAGE_URLS_MAX,
} from "./host/guest.ts";
export { type Hello, helloMessage, helloSchema, type Welcome, welcomeMessage, welcomeSchema } from "./host/hello.ts";
export {
  INVENTORY_PAGE_MAX,
  type InventoryPage,
  type InventoryQuery,
  inventoryPageMessage,
  inventoryPageSchema,
  inventoryQueryMessage,
  inventoryQuerySchema,
} from "./host/inventory.ts";
export {
  NOTICES_MAX,
  type Notice,
  type Notices,
  type NoticesTaken,
  noticeSchema,
  noticesMessage,
  noticesSchema,
  noticesTakenMessage,
  noticesTakenSchema,
} from "./host/notice.ts";
export {
  attemptSchema,
  digestSchema,
  hostNameSchema,
  imageDigestSchema,
  imageReferenceSchema,
  labelKeySchema,
  labelsSchema,
  labelValueSchema,
  lineSchema,
  macSchema,
  networkNameSchema,
  projectNameSchema,
  requestIdSchema,
  siteDomainSchema,
  termSchema,
  userNameSchema,
  uuidSchema,
  vmIdSchema,
  vmNameSchema,
} from "./ids.ts";
export { sshKeySchema, USER_DATA_BYTES_MAX, userDataSchema } from "./login.ts";
export {
  NS_BURST,
  NS_CAPACITY,
  NS_COMMAND,
  NS_ENROL,
  NS_HELLO,
  NS_INVENTORY,
  NS_NOTICE,
  NS_REFUSAL,
  NS_RSM,
  NS_SIGNATURE,
} from "./namespaces.ts";
export { type Refusal, type RefusalKind, refusal, refusalKindSchema, refusalSchema } from "./refusal.ts";
export {
  add,
  lacking,
  NO_RESOURCES,
  RESOURCE_KINDS,
  type ResourceKind,
  type Resources,
  resourcesSchema,
  subtract,
  sum,
} from "./resources.ts";
export { resourcesOf, type VmSpec, vmSpecSchema } from "./vm-spec.ts";
export {
  type HostVmState,
  hostVmStateSchema,
  isFinal,
  type VmPhase,
  vmPhaseSchema,
  type WantedState,
  wantedStateSchema,
} from "./vm-state.ts";
export { type Field, type Fields, integer, nested, text, wireName } from "./xml/field.ts";
export { defineMessage, type Message } from "./xml/message.ts";
export { refusalMessage, STANZA_ERRORS, type StandardCondition } from "./xml/refusal-element.ts";
export { resourceFields, specFields } from "./xml/spec-fields.ts";
