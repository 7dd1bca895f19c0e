import type { Client } from "../client/client.ts";
import type { Subscription } from "../client/subscriptions.ts";
import type { CallOptions } from "../connection/connection.ts";
import { ErrorCode } from "../fault.ts";
import type { Pool } from "../table/fields.ts";
import { poolProcedures as rows } from "../table/storage.ts";
import { flags, orAbsent } from "./wire.ts";

const STATES = ["inactive", "building", "running", "degraded", "inaccessible"] as const;
const EVENTS = ["defined", "undefined", "started", "stopped", "created", "deleted"] as const;

/** A pool's state and room. */
export interface PoolInfo {
  readonly state: (typeof STATES)[number] | "unknown";
  readonly capacityBytes: bigint;
  readonly allocationBytes: bigint;
  readonly availableBytes: bigint;
}

/** A change in a pool's life. */
export interface PoolLifecycle {
  readonly pool: Pool;
  readonly event: (typeof EVENTS)[number] | "unknown";
}

/** Storage pools. */
export class Pools {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /** All pools, running or not. */
  async list(options: CallOptions & { readonly active?: boolean } = {}): Promise<readonly Pool[]> {
    const set = flags([options.active === false, 0], [options.active, 1]);
    return (await this.#client.call(rows.connectListAllStoragePools, { needResults: 1, flags: set }, options)).pools;
  }

  /** The pool of that name, or undefined. */
  async lookupByName(name: string, options?: CallOptions): Promise<Pool | undefined> {
    const found = this.#client.call(rows.storagePoolLookupByName, { name }, options);
    return (await orAbsent(found, ErrorCode.noStoragePool))?.pool;
  }

  /** The pool of that UUID, or undefined. */
  async lookupByUuid(uuid: string, options?: CallOptions): Promise<Pool | undefined> {
    const found = this.#client.call(rows.storagePoolLookupByUuid, { uuid }, options);
    return (await orAbsent(found, ErrorCode.noStoragePool))?.pool;
  }

  /** Defines a pool without starting it. */
  async define(xml: string, options?: CallOptions): Promise<Pool> {
    return (await this.#client.call(rows.storagePoolDefineXml, { xml, flags: 0 }, options)).pool;
  }

  /** Creates and starts a pool that is gone once it stops. */
  async create(xml: string, options?: CallOptions): Promise<Pool> {
    return (await this.#client.call(rows.storagePoolCreateXml, { xml, flags: 0 }, options)).pool;
  }

  /** Makes what the pool lies on, such as its folder. */
  async build(pool: Pool, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.storagePoolBuild, { pool, flags: 0 }, options);
  }

  /** Starts a defined pool. */
  async start(pool: Pool, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.storagePoolCreate, { pool, flags: 0 }, options);
  }

  /** Looks at the volumes anew. */
  async refresh(pool: Pool, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.storagePoolRefresh, { pool, flags: 0 }, options);
  }

  /** Stops a pool; its definition and its volumes stay. */
  async destroy(pool: Pool, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.storagePoolDestroy, { pool }, options);
  }

  /** Deletes what the pool lies on, volumes included. */
  async delete(pool: Pool, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.storagePoolDelete, { pool, flags: 0 }, options);
  }

  /** Takes the definition away. */
  async undefine(pool: Pool, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.storagePoolUndefine, { pool }, options);
  }

  /** State and room. */
  async info(pool: Pool, options?: CallOptions): Promise<PoolInfo> {
    const { state, ...room } = await this.#client.call(rows.storagePoolGetInfo, { pool }, options);
    return { state: STATES[state] ?? "unknown", ...room };
  }

  /** The description in XML. */
  async xml(pool: Pool, options?: CallOptions): Promise<string> {
    return (await this.#client.call(rows.storagePoolGetXmlDesc, { pool, flags: 0 }, options)).xml;
  }

  /** Whether it is running. */
  async isActive(pool: Pool, options?: CallOptions): Promise<boolean> {
    return (await this.#client.call(rows.storagePoolIsActive, { pool }, options)).active !== 0;
  }

  /** Sets whether the daemon starts it when the machine boots. */
  async setAutostart(pool: Pool, autostart: boolean, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.storagePoolSetAutostart, { pool, autostart: autostart ? 1 : 0 }, options);
  }

  /** Calls `handler` whenever a pool is defined, started, stopped and so on. */
  onLifecycle(handler: (change: PoolLifecycle) => void, only?: Pool): Promise<Subscription> {
    return this.#client.subscribe(
      "pool.lifecycle",
      ({ pool, event }) => handler({ pool, event: EVENTS[event] ?? "unknown" }),
      only,
    );
  }
}
