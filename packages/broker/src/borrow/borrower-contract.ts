/**
 * The borrower's half as the cluster manager's core sees it: a pure state machine over its book. One exchange a VM at a
 * time: another peer, or home, only after this one is known to be over (B2, P1).
 */
import type {
  CandidateView,
  ImageContent,
  LeaseState,
  Offer,
  Refusal,
  SitePresence,
  TunnelEnd,
  TunnelNic,
  TunnelReach,
  UnitPrices,
  VmSpec,
} from "@muster/protocol";
import type { BurstNotice, BurstOutcome, BurstRequest } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";
import type { RankWeights } from "./rank-peers.ts";

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
  /** Where its ssh is reached at the lender. */
  readonly access?: LeaseState["access"];
  readonly reason?: string | undefined;
  readonly changedAtMs: number;
  readonly leasedAtMs?: number | undefined;
  /** What we accepted to be charged by, as the lender said with the hold. */
  readonly prices?: UnitPrices | undefined;
  /** The most that its user pays for an hour, in thousandths. */
  readonly maxPricePerHour?: number | undefined;
  /** The lender ends the lease then, for this reason, whatever is renewed. */
  readonly endsAtMs?: number | undefined;
  readonly endReason?: string | undefined;
  /** Whether it was the lender who set that end: it may take it back. */
  readonly endedByLender?: boolean | undefined;
  /** Closed for now: an admin of the lender has to approve it, and the same is asked again under the same id (B1). */
  readonly awaitsApproval?: boolean | undefined;
  /** Its VM was seen to run there: the lease was kept. */
  readonly ran?: boolean | undefined;
  readonly tunnel?: BorrowTunnel | undefined;
  /** What the lender is told of the image, to fetch it; where it may be fetched is said anew each time. */
  readonly image?: ImageContent | undefined;
  /** The VM runs at home and is to go over alive; at the peer nothing is started. */
  readonly incoming?: true | undefined;
};

/** How a VM is to sit on its home network while it runs at a peer: one tunnel for its one interface. */
export type BorrowTunnel = {
  /** Whether a gateway of ours can be reached; where it is `outbound`, the lender's host has to be. */
  readonly reach: TunnelReach;
  readonly vni: number;
  readonly mtu: number;
  readonly nic: TunnelNic;
  /** The end at a gateway of ours: the lease is asked for once it is there. */
  readonly own?: TunnelEnd | undefined;
  /** The end at the lender's host, as it last said. */
  readonly other?: TunnelEnd | undefined;
};

/** What is wished for, before any end is there. */
export type TunnelWish = Omit<BorrowTunnel, "own" | "other">;

/** What a project spent at peers in the period that began at `sinceMs`; stored under `spent/<project>`. */
export type SpentRecord = { readonly project: string; readonly sinceMs: number; readonly amount: number };

/** Most that a project may spend at peers in the period, in thousandths. */
export type Budget = { readonly limit: number; readonly sinceMs: number; readonly endsMs: number };

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
      readonly maxPricePerHour?: number | undefined;
      /** Where it is to sit on its home network there. */
      readonly tunnel?: TunnelWish | undefined;
      /** For a peer that has not the image and fetches. */
      readonly image?: ImageContent | undefined;
    }
  /**
   * This VM runs at home and is to go to this peer alive: the exchange is opened under this id. It brings no search: where it
   * comes to nothing, it is closed.
   */
  | { readonly kind: "open"; readonly id: string; readonly peer: string; readonly want: BorrowWant }
  | { readonly kind: "set-wanted"; readonly vm: string; readonly wanted: "running" | "paused" | "stopped" }
  /** The VM is not wanted at the peer any more: cancel or release, and confirm. */
  | { readonly kind: "release"; readonly vm: string; readonly reason: string }
  /** A gateway of ours has its end of this exchange's tunnel; another one than before where the gateway changed. */
  | { readonly kind: "tunnel-open"; readonly id: string; readonly own: TunnelEnd }
  /** None of our gateways can. */
  | { readonly kind: "tunnel-failed"; readonly id: string; readonly reason: string }
  | { readonly kind: "answer"; readonly peer: string; readonly call: string; readonly outcome: BurstOutcome }
  /** What a peer shows of itself; absent: nothing any more. */
  | { readonly kind: "presence"; readonly peer: string; readonly presence: SitePresence | undefined }
  | { readonly kind: "notice"; readonly peer: string; readonly notice: BurstNotice }
  | { readonly kind: "tick" };

/** What is asked of a peer for a VM. */
export type BorrowWant = Omit<BorrowerEvent & { readonly kind: "want" }, "kind">;

export type BorrowerEnv = {
  readonly nowMs: number;
  readonly term: number;
  /** Ids for new exchanges and calls. */
  newId(): string;
  peerings(): Iterable<Peering>;
  /** Where a lender may fetch the image now, best first; one may carry a ticket, and is not stored (S3). */
  imageUrls?(digest: string): readonly string[];
  /** What the project may spend; absent: as much as it likes. */
  budget?(project: string): Budget | undefined;
  /** From 0, where the peer owes us everything, to 1, where we owe it everything; 0.5 where that is not known. */
  favour?(domain: string): number;
  /** From 0 to 1: how far the peer's leases came to run so far; 1 where that is not known. */
  reliability?(domain: string): number;
  readonly rankWeights?: RankWeights | undefined;
};

/** What a candidate table is for, beyond the spec. */
export type Terms = {
  /** It is to be on its home network there. */
  readonly tunnel?: TunnelWish | TunnelReach | undefined;
  /** What peers that have not its image are told. */
  readonly image?: ImageContent | undefined;
  readonly project?: string | undefined;
  readonly leaseMs?: number | undefined;
  readonly maxPricePerHour?: number | undefined;
};

export type BorrowerChange =
  | { readonly kind: "put"; readonly record: BorrowRecord }
  | { readonly kind: "forget"; readonly peer: string; readonly id: string }
  | { readonly kind: "spent"; readonly record: SpentRecord };

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
  /** A lease of this peer came to run, or was over without: what its reliability is made of. */
  | { readonly kind: "promise"; readonly record: BorrowRecord; readonly kept: boolean }
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
  readonly presence?: SitePresence | undefined;
};

/** The machine. `load` takes the stored records after a start; open exchanges are asked about before anything else. */
export type Borrower = {
  load(records: Iterable<BorrowRecord>, spent?: Iterable<SpentRecord>): void;
  step(event: BorrowerEvent, env: BorrowerEnv): BorrowerStep;
  /** The open exchange of a VM, if it has one. */
  exchangeOf(vm: string): BorrowRecord | undefined;
  records(): Iterable<BorrowRecord>;
  standing(): Iterable<PeerStanding>;
  /** Candidate table for a spec from what is known now: for `why` and dry runs. */
  candidates(spec: VmSpec, env: BorrowerEnv, terms?: Terms): readonly CandidateView[];
  nextDueMs(): number | undefined;
};
