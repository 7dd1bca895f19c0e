/** What a run, or many, came to. */
export type Figures = {
  runs: number;
  steps: number;
  virtualMs: number;
  /** Faults that were injected, crashes at writes and messages lost or doubled counted apart. */
  faults: number;
  /** The same by kind, and ends of processes at writes by where. */
  byKind: Record<string, number>;
  crashesAtWrites: number;
  lost: number;
  duplicated: number;
  terms: number;
  requested: number;
  accepted: number;
  refused: number;
  deleted: number;
  started: number;
  leased: number;
  /** Moves that were begun, that ended at their destination, and that were given up. */
  movesBegun: number;
  moved: number;
  movedBetween: number;
  movesGivenUp: number;
  /** What admins did with peerings, rules, keys, holds and leases; and uses of keys that were rotated away. */
  deals: number;
  thefts: number;
  /** What users asked once of a VM, and what of it came about. */
  operationsAsked: number;
  operationsDone: number;
  /** Receipts that were agreed on, and those that were disputed. */
  agreed: number;
  disputed: number;
  /** VMs that their hosts stopped by themselves at the end of a lease (B4). */
  endedByHosts: number;
  /** VMs that nobody could end in time because their host manager or hypervisor did not act, see the checker of P1. */
  overstayed: number;
};

export function noFigures(): Figures {
  return {
    runs: 0,
    steps: 0,
    virtualMs: 0,
    faults: 0,
    byKind: {},
    crashesAtWrites: 0,
    lost: 0,
    duplicated: 0,
    terms: 0,
    requested: 0,
    accepted: 0,
    refused: 0,
    deleted: 0,
    started: 0,
    leased: 0,
    movesBegun: 0,
    moved: 0,
    movedBetween: 0,
    movesGivenUp: 0,
    deals: 0,
    thefts: 0,
    operationsAsked: 0,
    operationsDone: 0,
    agreed: 0,
    disputed: 0,
    endedByHosts: 0,
    overstayed: 0,
  };
}

export function addFigures(sum: Figures, more: Figures): void {
  for (const key of Object.keys(sum) as (keyof Figures)[]) if (key !== "byKind") sum[key] += more[key];
  for (const [kind, count] of Object.entries(more.byKind)) countFault(sum, kind, count);
}

export function countFault({ byKind }: Figures, kind: string, count = 1): void {
  byKind[kind] = (byKind[kind] ?? 0) + count;
}
