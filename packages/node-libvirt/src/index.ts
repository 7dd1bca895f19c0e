export type { ReconnectOptions } from "./client/backoff.ts";
export type { Caller, OrderedCallOptions } from "./client/caller.ts";
export type { ClientEvents, ClientOptions } from "./client/client.ts";
export type { Role } from "./client/link.ts";
export type { EventFilter, Subscription } from "./client/subscriptions.ts";
export { type CallOptions, Connection, type ConnectionHooks, type ConnectionOptions } from "./connection/connection.ts";
export { closeConnection, type OpenOptions, openConnection } from "./connection/handshake.ts";
export type { KeepaliveOptions } from "./connection/keepalive.ts";
export type { Exit } from "./daemon/daemon-process.ts";
export { type EmbeddedDaemonOptions, startEmbeddedDaemon } from "./daemon/embedded-daemon.ts";
export type { PrivateDaemon } from "./daemon/private-daemon.ts";
export { type QemuDaemonOptions, startQemuDaemon } from "./daemon/qemu-daemon.ts";
export type { ConsoleOptions } from "./facade/consoles.ts";
export { DomainConsole } from "./facade/domain-console.ts";
export { type DomainState, domainState, type LifecycleEvent, lifecycleEvent } from "./facade/domain-state.ts";
export type {
  DestroyOptions,
  DomainFilter,
  DomainInfo,
  DomainLifecycle,
  Domains,
  StartOptions,
  StateReport,
  UndefineOptions,
} from "./facade/domains.ts";
export type { Affects, Metadata, MetadataElement } from "./facade/metadata.ts";
export type { JobStats, MigrationFlag, MigrationPlan } from "./facade/migration.ts";
export { type DomainRef, type ParamRecord, type ParamValue, paramRecord } from "./facade/wire.ts";
export {
  ArgumentRefused,
  type CallFault,
  ConnectionLost,
  DaemonFailed,
  ErrorCode,
  isLibvirtError,
  LibvirtError,
  Overloaded,
  ProtocolViolation,
  Timeout,
} from "./fault.ts";
export { Libvirt } from "./libvirt.ts";
export { type EventBody, type EventName, eventKinds } from "./table/event.ts";
export type { Domain, Network, Pool, Snapshot, TypedParam, TypedValue, Volume } from "./table/fields.ts";
export { type Lane, type Procedure, Program } from "./table/procedure.ts";
export { type ProcedureName, procedureTable } from "./table/procedures.ts";
