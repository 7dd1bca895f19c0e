export { type AdHocOptions, adHocDisco, serveAdHoc } from "./ad-hoc.ts";
export { type Address, bareAddress, domainOf, parseAddress, prepareAddress, sameAddress } from "./address.ts";
export type {
  Bus,
  BusStatus,
  IncomingIq,
  IncomingStanza,
  IqAnswer,
  IqHandler,
  IqOutcome,
  IqRequest,
  SendOutcome,
  SendRefusal,
  Unsubscribe,
} from "./bus.ts";
export { type ChatOptions, serveChat } from "./chat.ts";
export { type XmppClientOptions, xmppClientBus } from "./client-bus.ts";
export { type XmppComponentOptions, xmppComponentBus } from "./component-bus.ts";
export { type ComponentTls, checkComponentTls } from "./component-tls.ts";
export type { FormField, FormTable } from "./data-form.ts";
export { IqCaller, type IqCallerOptions } from "./iq-caller.ts";
export type { SupervisorTimes } from "./link-state.ts";
export type { BusOptions } from "./linked-bus.ts";
export { type MemoryBusOptions, type MemoryNetwork, type MemoryNetworkOptions, memoryNetwork } from "./memory-bus.ts";
export type { MemoryFaults } from "./memory-paths.ts";
export type { ServerState } from "./memory-servers.ts";
export { Outbox, type OutboxBounds } from "./outbox.ts";
export { IqRouter, type IqRouterOptions } from "./router.ts";
export {
  type DiscoIdentity,
  type DiscoInfo,
  type DiscoItem,
  type DiscoPart,
  type DiscoQuery,
  type Services,
  serve,
} from "./services.ts";
export { STANZA_BYTES_MAX, type StanzaBounds } from "./stanza.ts";
export {
  decodeStanzaFault,
  encodeStanzaFault,
  type StanzaCondition,
  type StanzaFault,
  type StanzaFaultType,
  stanzaFault,
} from "./stanza-fault.ts";
export { type Word, type WordAnswer, type WordCall, Words } from "./words.ts";
