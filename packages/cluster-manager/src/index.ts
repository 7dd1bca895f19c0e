/** The controller of a site: pure core, store port with adapters, and the shell around them. `main.ts` is the process. */
export {
  type ClusterManager,
  type ClusterManagerOptions,
  createClusterManager,
  type ManagerEnd,
} from "./cluster-manager.ts";
export { type Config, configSchema, policyOf } from "./config.ts";
export type { Core, CoreEnv, CoreViews, SitePolicy } from "./core/core.ts";
export { type CoreParts, createCore } from "./core/create-core.ts";
export type { Answer, CoreEffect, CoreStep } from "./core/effect.ts";
export type { Actor, CommandEnd, CoreEvent, Ticket } from "./core/event.ts";
export type { HostRecord, Origin, Place, RecordChange, RequestRecord, VmRecord } from "./core/records.ts";
export type { PeerRecord } from "./peering/peer-record.ts";
export type { StoredLead } from "./store/etcd-copy.ts";
export {
  type EtcdFollower,
  type EtcdFollowerOptions,
  type EtcdFollowerStatus,
  followEtcdStore,
} from "./store/etcd-follower.ts";
export { type EtcdStoreOptions, etcdStoreOpener, openEtcdStore } from "./store/etcd-open.ts";
export { type LevelStoreOptions, openLevelStore } from "./store/level-store.ts";
export { MemoryDisk, type MemoryDiskFault, openMemoryStore } from "./store/memory-store.ts";
export { readAll } from "./store/read-all.ts";
export type { CommitOutcome, Store } from "./store/store.ts";
export type { StoreFault } from "./store/store-fault.ts";
