/**
 * The borrower's half as the cluster manager's core sees it: a pure state machine over its book. One exchange a VM at a
 * time: another peer, or home, only after this one is known to be over (B2, P1).
 */
import type { CandidateView, LeaseState, Offer, Refusal, VmSpec } from "@muster/protocol";
import type { BurstNotice, BurstOutcome, BurstRequest } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";

/**
 * One exchange at its borrower; stored under `borrow/<peer>/<id>` before the first word leaves.
 *
 * `holding` asked, answer outstanding or unknown; `leasing` held, lease asked; `leased` runs at the peer;
 * `releasing` wanted back, to be confirmed; `closed` confirmed over; kept for a while for explanations and late notices.
 */
export type BorrowRecord = {
  readonly id: string;
  readonly peer: string;
  readonly vm: string;
  readonly name: string;
  readonly project: string;
  readonly owner: string;
  readonly spec: VmSpec;
  readonly digest: string;
  readonly stage: "holding" | "leasing" | "leased" | "releasing" | "closed";
  readonly wanted: "running" | "paused" | "stopped" | "released";
  readonly leaseMs: number;
  /** End of the lease as we count it, from the moment of our asking: never later than the lender's (B4). */
  readonly expiresAtMs: number;
  /**
   * From when on nothing of it can be left at the lender although nobody confirmed it: the latest end that any asking of
   * ours can have led to, its grace and a margin included (B4, P1). Stored before the asking leaves.
   */
  readonly overAtMs?: number | undefined;
  readonly renewals: number;
  /** Highest revision of the lender that we took in. */
  readonly revision: number;
  readonly vmPhase?: LeaseState["vm"];
  readonly address?: string | undefined;
  readonly reason?: string | undefined;
  readonly changedAtMs: number;
};

export type BorrowerEvent =
  /**
   * This VM waits and may burst: find a peer. Repeating it while the search or an exchange is open changes nothing; soon
   * after `not-placed` it brings the same answer again, with what is left of the pause. A search is not stored: after a
   * start the core asks again. Until `exchange-changed` or `not-placed` comes, place it at home only after `release`.
   */
  | {
      readonly kind: "want";
      readonly vm: string;
      readonly name: string;
      readonly project: string;
      readonly owner: string;
      readonly spec: VmSpec;
      readonly leaseMs: number;
    }
  | { readonly kind: "set-wanted"; readonly vm: string; readonly wanted: "running" | "paused" | "stopped" }
  /** The VM is not wanted at the peer any more: cancel or release, and confirm. */
  | { readonly kind: "release"; readonly vm: string; readonly reason: string }
  | { readonly kind: "answer"; readonly peer: string; readonly call: string; readonly outcome: BurstOutcome }
  | { readonly kind: "notice"; readonly peer: string; readonly notice: BurstNotice }
  | { readonly kind: "tick" };

export type BorrowerEnv = {
  readonly nowMs: number;
  readonly term: number;
  /** Ids for new exchanges and calls. */
  newId(): string;
  peerings(): Iterable<Peering>;
};

export type BorrowerChange =
  | { readonly kind: "put"; readonly record: BorrowRecord }
  | { readonly kind: "forget"; readonly peer: string; readonly id: string };

export type BorrowerEffect =
  /** Ask the peer; the outcome comes back as `answer` with the same `call`. Times out as `unknown`. */
  | {
      readonly kind: "send";
      readonly peer: string;
      readonly call: string;
      readonly request: BurstRequest;
      readonly timeoutMs: number;
    }
  /**
   * The exchange changed: the core copies stage, phase and address into the VM's record. A new one (`holding`) for a VM
   * that has a place by now is to be answered with `release` in the same step: no lease is asked before the next (P1).
   */
  | { readonly kind: "exchange-changed"; readonly record: BorrowRecord }
  /** No peer takes it now: the reasons, peer by peer (P4); the VM goes on waiting at home. */
  | {
      readonly kind: "not-placed";
      readonly vm: string;
      readonly candidates: readonly CandidateView[];
      readonly refusal: Refusal;
    };

export type BorrowerStep = { readonly changes: readonly BorrowerChange[]; readonly effects: readonly BorrowerEffect[] };

/** What we know of a peer: soft state, for views and explanations. */
export type PeerStanding = {
  readonly domain: string;
  readonly reachable: "unknown" | "yes" | "no";
  readonly offer?: Offer | undefined;
  readonly lastHeardMs?: number | undefined;
};

/** The machine. `load` takes the stored records after a start; open exchanges are asked about before anything else. */
export type Borrower = {
  load(records: Iterable<BorrowRecord>): void;
  step(event: BorrowerEvent, env: BorrowerEnv): BorrowerStep;
  /** The open exchange of a VM, if it has one. */
  exchangeOf(vm: string): BorrowRecord | undefined;
  records(): Iterable<BorrowRecord>;
  standing(): Iterable<PeerStanding>;
  /** Candidate table for a spec from what is known now: for `why` and dry runs. */
  candidates(spec: VmSpec, env: BorrowerEnv): readonly CandidateView[];
  nextDueMs(): number | undefined;
};
