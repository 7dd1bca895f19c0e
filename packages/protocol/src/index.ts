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
export * from "./api/index.ts";
export * from "./burst/index.ts";
export { canonicalText } from "./canonical.ts";
export { digestOf } from "./digest.ts";
export * from "./host/index.ts";
export {
  attemptSchema,
  digestSchema,
  hostNameSchema,
  imageDigestSchema,
  imageReferenceSchema,
  imageTagSchema,
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
export * from "./ledger/index.ts";
export { sshKeySchema, USER_DATA_BYTES_MAX, userDataSchema } from "./login.ts";
export {
  NS_BURST,
  NS_CAPACITY,
  NS_COMMAND,
  NS_CONSOLE,
  NS_ENROL,
  NS_HELLO,
  NS_INVENTORY,
  NS_MOVE,
  NS_NOTICE,
  NS_PEERING,
  NS_PEERS,
  NS_REFUSAL,
  NS_RSM,
  NS_SERIAL_LOG,
  NS_SIGNATURE,
  NS_SITE,
  NS_TUNNEL,
  NS_UNDERLAY,
} from "./namespaces.ts";
export * from "./peering/index.ts";
export { type Refusal, type RefusalKind, refusal, refusalKindSchema, refusalSchema } from "./refusal.ts";
export {
  add,
  lacking,
  NO_RESOURCES,
  RESOURCE_KINDS,
  RESOURCE_WORDS,
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
export * from "./xml/index.ts";
