/** The words of the cores that the simulator reads in the stores of sites, where they are kept as they are. */
import type { BorrowRecord, LedgerRecord, LendRecord, MeterRecord } from "@muster/broker";
import type { CoreEffect, HostRecord, PeerRecord, RequestRecord, VmRecord } from "@muster/cluster-manager";
import type { SiteStore } from "./site-store.ts";

export type Answer = Extract<CoreEffect, { readonly kind: "answer" }>["answer"];

export function vmIn(store: SiteStore, id: string): VmRecord | undefined {
  return store.records.get(`vm/${id}`) as VmRecord | undefined;
}

export function requestIn(store: SiteStore, id: string): RequestRecord | undefined {
  return store.records.get(`request/${id}`) as RequestRecord | undefined;
}

export function hostIn(store: SiteStore, name: string): HostRecord | undefined {
  return store.records.get(`host/${name}`) as HostRecord | undefined;
}

export function lendIn(store: SiteStore, peer: string, id: string): LendRecord | undefined {
  return store.records.get(`lend/${peer}/${id}`) as LendRecord | undefined;
}

export function peerIn(store: SiteStore, domain: string): PeerRecord | undefined {
  return store.records.get(`peer/${domain}`) as PeerRecord | undefined;
}

export function borrowIn(store: SiteStore, peer: string, id: string): BorrowRecord | undefined {
  return store.records.get(`borrow/${peer}/${id}`) as BorrowRecord | undefined;
}

/** All records of one kind: `vm/`, `lend/`, `borrow/`, `request/`. */
export function* allIn<Kind extends keyof Kinds>(store: SiteStore, kind: Kind): Iterable<Kinds[Kind]> {
  for (const [key, value] of store.records) if (key.startsWith(`${kind}/`)) yield value as Kinds[Kind];
}

type Kinds = {
  readonly vm: VmRecord;
  readonly request: RequestRecord;
  readonly host: HostRecord;
  readonly lend: LendRecord;
  readonly borrow: BorrowRecord;
  readonly receipt: LedgerRecord;
  readonly meter: MeterRecord;
  readonly peer: PeerRecord;
};
