/** Stores over real etcd members, each test below a prefix of its own. */

import type { Result } from "@muster/base";
import { systemClock, systemRng } from "@muster/base";
import type { RecordChange } from "../core/records.ts";
import { EtcdClient } from "./etcd/etcd-client.ts";
import { EtcdCluster } from "./etcd-cluster.fixture.ts";
import { type EtcdStoreOptions, openEtcdStore } from "./etcd-open.ts";
import { readAll } from "./read-all.ts";
import type { Store } from "./store.ts";
import type { StoreFault } from "./store-fault.ts";

export const SITE = "alpha.example";

export class EtcdBed {
  readonly cluster: EtcdCluster;
  readonly client: EtcdClient;
  readonly #stores: Store[] = [];
  #prefixes = 0;

  private constructor(cluster: EtcdCluster) {
    this.cluster = cluster;
    this.client = new EtcdClient({ clock: systemClock, endpoints: cluster.endpoints });
  }

  static async start(addresses: readonly string[]): Promise<EtcdBed> {
    return new EtcdBed(await EtcdCluster.start({ addresses }));
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.cluster.stop();
  }

  newPrefix(): string {
    this.#prefixes += 1;
    return `test/${this.#prefixes}/`;
  }

  open(prefix: string, more: Partial<EtcdStoreOptions> = {}): Promise<Result<Store, StoreFault>> {
    const { endpoints } = this.cluster;
    const base = { clock: systemClock, rng: systemRng, endpoints, site: SITE, manager: "a", prefix };
    return openEtcdStore({ ...base, ...more });
  }

  /** Closed after the test. */
  async opened(prefix: string, more: Partial<EtcdStoreOptions> = {}): Promise<Store> {
    const result = await this.open(prefix, more);
    if (!result.ok) throw new Error(result.error.message);
    return this.closeLater(result.value);
  }

  closeLater(store: Store): Store {
    this.#stores.push(store);
    return store;
  }

  async closeStores(): Promise<void> {
    for (const store of this.#stores.splice(0)) await store.close();
  }

  /** Writes behind the store's back. */
  async edit(key: string, value: string): Promise<void> {
    const answer = await this.client.txn({ compare: [], success: [{ kind: "put", key, value }] });
    if (!answer.ok) throw new Error(answer.error.message);
  }

  async stored(key: string): Promise<string | undefined> {
    const answer = await this.client.range({ from: key });
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.value.kvs[0]?.value;
  }

  async countBelow(prefix: string): Promise<number> {
    const answer = await this.client.range({ from: prefix, prefix });
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.value.kvs.length;
  }
}

export function put(key: string, value: unknown): RecordChange {
  return { kind: "put", key, value };
}

export function all(store: Store): Promise<(readonly [string, unknown])[]> {
  return readAll(store, "");
}
