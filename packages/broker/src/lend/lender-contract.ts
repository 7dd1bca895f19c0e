/**
 * The lender's half as the cluster manager's core sees it: a pure state machine over its book.
 * Every change is to be committed before any effect is carried out (L3).
 */
import type { Hold, LeaseState, Refusal, Resources, VmPhase, VmSpec } from "@muster/protocol";
import type { BurstAnswer, BurstRequest } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";

/** One exchange at its lender; stored under `lend/<peer>/<id>`. Times are site time, see `LenderEnv.nowMs`. */
export type LendRecord = {
  readonly id: string;
  readonly peer: string;
  readonly digest: string;
  readonly stage: LeaseState["stage"];
  readonly revision: number;
  /** Absent in a tombstone whose hold never arrived (B3). */
  readonly hold?: Hold | undefined;
  readonly leaseMs: number;
  /** End of the hold or lease by our clock; the VM is removed `graceMs` later (B4). */
  readonly expiresAtMs: number;
  readonly renewals: number;
  readonly vmPhase?: LeaseState["vm"];
  readonly address?: string | undefined;
  readonly reason?: string | undefined;
  readonly changedAtMs: number;
};

export type LenderEvent =
  | { readonly kind: "request"; readonly peer: string; readonly ticket: number; readonly request: BurstRequest }
  /** The leased VM moved on at home: phase as its record has it. `deleted` and the like free the exchange. */
  | {
      readonly kind: "vm-changed";
      readonly id: string;
      readonly peer: string;
      readonly phase: VmPhase;
      readonly address?: string | undefined;
      readonly reason?: string | undefined;
    }
  | { readonly kind: "tick" };

export type LenderEnv = {
  /** Site time in milliseconds: follows the wall clock across restarts, never goes back within a process. */
  readonly nowMs: number;
  readonly term: number;
  readonly agent: string;
  peering(domain: string): Peering | undefined;
  /** Why the site cannot take the VM now, or `undefined` when it can: free capacity less everything placed and held. */
  roomFor(spec: VmSpec): Refusal | undefined;
  /** What the whole site has, for the share; and what one more VM could be at most. */
  readonly siteTotal: Resources;
  readonly siteFree: Resources;
  readonly largest: Resources;
  readonly images: readonly string[];
  /** How long after its end a lease's VM may still exist. */
  readonly graceMs: number;
  /** How long closed exchanges and tombstones are remembered: longer than any retry (B1). */
  readonly rememberMs: number;
};

export type LenderChange =
  | { readonly kind: "put"; readonly record: LendRecord }
  | { readonly kind: "forget"; readonly peer: string; readonly id: string };

export type LenderEffect =
  | { readonly kind: "answer"; readonly ticket: number; readonly answer: BurstAnswer }
  | { readonly kind: "refuse"; readonly ticket: number; readonly refusal: Refusal }
  /** The lease begins: make the VM wanted, as one of ours with this origin. */
  | { readonly kind: "place"; readonly record: LendRecord }
  /** The borrower wants its VM running, paused or stopped. */
  | { readonly kind: "want"; readonly record: LendRecord; readonly wanted: "running" | "paused" | "stopped" }
  /** The lease ended: remove its VM; `vm-changed` with a final phase closes the exchange. */
  | { readonly kind: "remove"; readonly record: LendRecord; readonly reason: string }
  | { readonly kind: "notify"; readonly peer: string; readonly states: readonly LeaseState[] };

export type LenderStep = { readonly changes: readonly LenderChange[]; readonly effects: readonly LenderEffect[] };

/** What the inventory must count as taken although no VM stands for it yet: open holds. */
export type HeldCapacity = { readonly id: string; readonly peer: string; readonly spec: VmSpec };

/** The machine. `load` takes the stored records after a start; it owns its working set. */
export type Lender = {
  load(records: Iterable<LendRecord>): void;
  step(event: LenderEvent, env: LenderEnv): LenderStep;
  held(): Iterable<HeldCapacity>;
  records(): Iterable<LendRecord>;
  find(peer: string, id: string): LendRecord | undefined;
  /** When the next hold or lease runs out, for the tick; `undefined` when none is open. */
  nextDueMs(): number | undefined;
};
