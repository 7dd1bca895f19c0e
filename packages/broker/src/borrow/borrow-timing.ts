/** The borrower's durations and bounds, all in milliseconds where not said otherwise. */
export type BorrowTiming = {
  /** For how long a hold is asked. */
  readonly holdMs: number;
  /** How long the same hold or lease is asked for again while no answer comes, before it is cancelled (B2). */
  readonly askMs: number;
  /** Deadline of one question. */
  readonly callTimeoutMs: number;
  /** Deadline of the offers that a waiting VM needs, and the age up to which an offer will do. */
  readonly offerDeadlineMs: number;
  readonly offerFreshMs: number;
  /** How often each peer is asked for its offer: its heartbeat. */
  readonly offerEveryMs: number;
  /** Pause between two asks of the same thing: doubles from the first to the second. */
  readonly retryMs: number;
  readonly retryMsMax: number;
  /** Pause after a round in which no peer took the VM: doubles from the first to the second. */
  readonly restMs: number;
  readonly restMsMax: number;
  /** Longest time a question of ours can be on its way. */
  readonly flightMs: number;
  /** How long after its end a lease's VM may exist at a lender, and what clocks may differ over one lease (B4). */
  readonly graceMs: number;
  readonly marginMs: number;
  /** How long a lender has to run what it leased before the promise counts as broken and the VM goes elsewhere. */
  readonly runWithinMs: number;
  /** How long closed exchanges are kept for explanations. */
  readonly rememberMs: number;
  /** Most searches and most exchanges open at once (S2). */
  readonly searchesMax: number;
  readonly exchangesMax: number;
};

export const BORROW_TIMING: BorrowTiming = {
  holdMs: 30_000,
  askMs: 20_000,
  callTimeoutMs: 5_000,
  offerDeadlineMs: 1_000,
  offerFreshMs: 2_000,
  offerEveryMs: 10_000,
  retryMs: 500,
  retryMsMax: 15_000,
  restMs: 2_000,
  restMsMax: 60_000,
  flightMs: 60_000,
  graceMs: 60_000,
  marginMs: 5_000,
  runWithinMs: 600_000,
  rememberMs: 3_600_000,
  searchesMax: 1_000,
  exchangesMax: 10_000,
};

/** The pause before the next try, after `tries` failed ones. */
export function pauseMs(tries: number, leastMs: number, mostMs: number): number {
  return Math.min(mostMs, leastMs * 2 ** Math.min(Math.max(0, tries - 1), 30));
}
