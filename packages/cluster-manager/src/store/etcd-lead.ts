import type { CancelTimer, Clock } from "@muster/base";
import type { EtcdClient } from "./etcd/etcd-client.ts";
import { type EtcdLayout, metaSchema, readStored } from "./etcd-layout.ts";

export type EtcdLeadParts = {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly layout: EtcdLayout;
  readonly lease: string;
  readonly leaseSeconds: number;
  /** What the key says: who leads, under which term. */
  readonly value: string;
  readonly metaRevision: number;
  /** Told once when another term is found to stand there. */
  readonly onDeposed?: ((term: number) => void) | undefined;
};

/** Renewals within a lease: two may fail. */
const RENEWALS = 3;
const GIVE_UP_MS = 500;

/**
 * Keeps the key that says that a leader lives, by a lease of etcd, so that a standby with no other means of detection
 * waits for it. It only says so: no write depends on it, and losing it deposes nobody. With each renewal it looks whether
 * the term is still its own, so that a leader that was paused or cut off and writes nothing hears of its successor.
 */
export class EtcdLead {
  readonly #parts: EtcdLeadParts;
  #lease: string;
  #held = true;
  #cancel: CancelTimer = () => {};
  #renewing: Promise<void> = Promise.resolve();

  constructor(parts: EtcdLeadParts) {
    this.#parts = parts;
    this.#lease = parts.lease;
    this.#plan();
  }

  /** Another manager leads: its key is its own. */
  forget(): void {
    this.#held = false;
    this.#cancel();
  }

  /** A planned end: the next leader need not wait for the lease. Answers in bounded time, whatever etcd does. */
  async giveUp(): Promise<void> {
    if (!this.#held) return;
    this.forget();
    const { client, clock } = this.#parts;
    let cancel: CancelTimer = () => {};
    const late = new Promise<void>((resolve) => {
      cancel = clock.setTimer(GIVE_UP_MS, resolve);
    });
    await Promise.race([this.#renewing.then(() => client.revokeLease(this.#lease)), late]);
    cancel();
  }

  #plan(): void {
    const { clock, leaseSeconds } = this.#parts;
    this.#cancel = clock.setTimer((leaseSeconds * 1_000) / RENEWALS, () => {
      this.#renewing = Promise.all([this.#renew(), this.#look()]).then(() => {
        if (this.#held) this.#plan();
      });
    });
  }

  async #look(): Promise<void> {
    const { client, layout, metaRevision, onDeposed } = this.#parts;
    const read = await client.range({ from: layout.meta });
    const [meta] = read.ok ? read.value.kvs : [];
    if (!this.#held || meta === undefined || meta.modRevision <= metaRevision) return;
    const term = readStored(metaSchema, meta.value)?.term;
    if (term === undefined) return;
    this.forget();
    onDeposed?.(term);
  }

  async #renew(): Promise<void> {
    const { client, layout, leaseSeconds, metaRevision, value } = this.#parts;
    const kept = await client.keepLease(this.#lease);
    if (!kept.ok || kept.value || !this.#held) return;
    // It ran out while this process was paused or etcd away, and nobody took over: say again that a leader lives.
    const granted = await client.grantLease(leaseSeconds);
    if (!granted.ok || !this.#held) return;
    this.#lease = granted.value;
    await client.txn({
      compare: [{ key: layout.meta, modRevision: metaRevision }],
      success: [{ kind: "put", key: layout.lead, value, lease: granted.value }],
    });
  }
}
