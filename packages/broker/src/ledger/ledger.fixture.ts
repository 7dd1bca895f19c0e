/** Two ledgers, beta's that lends and alpha's that borrows, with their leases started and ended by hand. */
import type { Receipts, SignedReceipt, UnitPrices } from "@muster/protocol";
import { amountOf, digestOf, NO_DIGEST, type Receipt } from "@muster/protocol";
import type { BorrowRecord } from "../borrow/borrower-contract.ts";
import { holdOf, newId, PEERING, SPEC, want } from "../broker.fixture.ts";
import type { LendRecord } from "../lend/lender-contract.ts";
import { generateSiteKey, type SiteKey } from "../peering/keys.ts";
import type { Peering } from "../peering/peering.ts";
import { createLedger } from "./ledger.ts";
import type { Ledger, LedgerEffect, LedgerEvent } from "./ledger-contract.ts";
import type { BookRecord, LedgerRecord, MeterRecord } from "./ledger-record.ts";
import { prove, receiptText } from "./proof.ts";

export const ALPHA = "alpha.test";
export const BETA = "beta.test";
export const KEYS = { [ALPHA]: generateSiteKey(), [BETA]: generateSiteKey() } as const;
export const PRICES: UnitPrices = { vcpuHour: 1_000, memoryGiBHour: 500, gpuHour: 0 };
export const TIMING = { everyMs: 60_000, toleranceMs: 5_000 };

type Site = typeof ALPHA | typeof BETA;

export type Stored = LedgerRecord | MeterRecord | BookRecord;

/** One site's ledger with its store. */
export class Books {
  readonly domain: Site;
  readonly peer: Site;
  readonly store = new Map<string, Stored>();
  machine: Ledger;
  nowMs = 1_000_000;
  peering: Peering | undefined;
  keys: readonly SiteKey[];
  readonly effects: LedgerEffect[] = [];

  constructor(domain: Site) {
    this.domain = domain;
    this.peer = domain === ALPHA ? BETA : ALPHA;
    this.keys = [KEYS[domain]];
    this.peering = { ...PEERING, domain: this.peer, publicKey: KEYS[this.peer].publicKey };
    this.machine = this.#make();
  }

  #make(): Ledger {
    const machine = createLedger({ domain: this.domain, keys: () => this.keys, timing: TIMING });
    const entries = structuredClone([...this.store]);
    const of = (kind: string) => entries.filter(([key]) => key.startsWith(kind)).map(([, value]) => value);
    machine.load(of("receipt/") as LedgerRecord[], of("meter/") as MeterRecord[], of("book/") as BookRecord[]);
    return machine;
  }

  restart(): void {
    this.machine = this.#make();
  }

  /** Back to what its store was at some time. */
  restore(backup: ReadonlyMap<string, Stored>): void {
    this.store.clear();
    for (const [key, value] of backup) this.store.set(key, value);
    this.restart();
  }

  step(event: LedgerEvent): readonly LedgerEffect[] {
    const { nowMs } = this;
    const peering = (domain: string) => (domain === this.peer ? this.peering : undefined);
    const { changes, effects } = this.machine.step(event, { nowMs, newId, peering });
    for (const change of changes) {
      if (change.kind === "put") this.store.set(change.key, structuredClone(change.value));
      else this.store.delete(change.key);
    }
    this.effects.push(...effects);
    return effects;
  }

  book(side: "lent" | "borrowed"): LedgerRecord[] {
    return [...this.store]
      .filter(([key]) => key.startsWith(`receipt/${side}/`))
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([, value]) => value as LedgerRecord);
  }

  /** Hands in receipts as a peer would send them, and returns what is said to them. */
  take(receipts: Receipts["receipts"]): LedgerEffect | undefined {
    const effects = this.step({ kind: "receipts", peer: this.peer, ticket: 1, body: { receipts } });
    return effects.find(({ kind }) => kind === "answer" || kind === "refuse");
  }
}

export type Lease = { readonly id: string; readonly vm: string };

export function newLease(): Lease {
  return { id: newId(), vm: newId() };
}

export function lentAs(lease: Lease, part: Partial<LendRecord>): LendRecord {
  const hold = holdOf({ id: lease.id, vm: lease.vm });
  const { id, digest } = hold;
  const base = { id, peer: ALPHA, digest, revision: 1, hold, leaseMs: 60_000, expiresAtMs: 0, renewals: 0 };
  return { ...base, stage: "leased", vmPhase: "running", prices: PRICES, changedAtMs: 0, ...part };
}

export function borrowedAs(lease: Lease, part: Partial<BorrowRecord>): BorrowRecord {
  const { kind: _, ...wanted } = want({ vm: lease.vm });
  const base = { ...wanted, id: lease.id, peer: BETA, digest: "", expiresAtMs: 0, renewals: 0, revision: 1 };
  return { ...base, stage: "leased", wanted: "running", vmPhase: "running", prices: PRICES, changedAtMs: 0, ...part };
}

/** A receipt of beta for this lease, signed by beta; what is given differs from a right one. */
export function receiptFor(lease: Lease, part: Partial<Receipt> = {}, key = KEYS[BETA]): SignedReceipt {
  const { vcpus, memoryMiB, diskGiB, gpus } = SPEC;
  const resources = { vcpus, memoryMiB, diskGiB, gpus };
  const { fromMs = 0, untilMs = 60_000, prices = PRICES } = part;
  const receipt: Receipt = {
    id: newId(),
    sequence: 1,
    lender: BETA,
    borrower: ALPHA,
    lease: lease.id,
    vm: lease.vm,
    project: "default",
    owner: "ann",
    image: "debian-12",
    fromMs,
    untilMs,
    final: false,
    startedAt: "2026-11-21T08:00:00.000Z",
    resources,
    prices,
    amount: untilMs < fromMs ? 0 : amountOf(part.resources ?? resources, prices, untilMs - fromMs),
    previous: NO_DIGEST,
    ...part,
  };
  return { receipt, proof: prove(receiptText(receipt), key).proof };
}

export function digestIn({ receipt }: SignedReceipt): string {
  return digestOf(receipt);
}
