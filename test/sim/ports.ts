/** Where a mutant can take hold: around the cores, and at what the simulator does in place of the shells. */
import type { Borrower, Ledger, LedgerOptions, Lender, PinnedPeer } from "@muster/broker";
import type { Core, CoreEvent } from "@muster/cluster-manager";
import type { Change, Effect, HostEvent, step } from "@muster/host-manager";

import type { Moment } from "./moment.ts";
import type { World } from "./world.ts";

export type HostStep = typeof step;

export type Ports = {
  readonly core?: (core: Core, site: string) => Core;
  readonly lender?: (lender: Lender) => Lender;
  readonly borrower?: (borrower: Borrower) => Borrower;
  readonly ledger?: (ledger: Ledger, site: string) => Ledger;
  readonly ledgerOptions?: (options: LedgerOptions) => LedgerOptions;
  /** Which keys the door of that site takes for those of a peer. */
  readonly pinned?: (pinned: PinnedPeer, site: string) => PinnedPeer;
  readonly hostStep?: (step: HostStep) => HostStep;
  /** What is stored of a host's changes. */
  readonly journal?: (changes: readonly Change[]) => readonly Change[];
  /** What a host's journal has after a start. */
  readonly journalAtStart?: "empty";
  /** What reaches a host manager. */
  readonly hostEvent?: (event: HostEvent) => HostEvent;
  /** Effects that are carried out before the journal is written, and those that are left out or changed. */
  readonly hostActsFirst?: boolean;
  readonly hostEffect?: (effect: Effect, tell: (event: HostEvent) => void) => Effect | undefined;
  /** What reaches a leader. */
  readonly coreEvent?: (event: CoreEvent) => CoreEvent;
  /** Whether a commit is guarded by its term, and what a leader does that hears it was deposed. */
  readonly unguardedStore?: boolean;
  readonly heedlessWhenDeposed?: boolean;
  readonly answersBeforeCommit?: boolean;
  /** What answers somebody and changes nothing goes out without the store's word. */
  readonly answersUnguarded?: boolean;
  /** The successor leads under the term of its predecessor. */
  readonly sameTerm?: boolean;
  /** The successor works on what it read some time ago. */
  readonly staleRead?: boolean;
  /** The welcome of a host counts as its list. */
  readonly emptyInventory?: boolean;
  /** What happens at a moment in which a process writes or sends; `ends`: it does. */
  readonly strikes?: (world: World, moment: Moment) => "ends" | "no";
  /** Every start arrives at its host a second time, so long after the first: no mutation, only a hard network. */
  readonly repeatsStartsAfterMs?: number;
};

export const NO_MUTATION: Ports = {};
