/**
 * The lender's half as the cluster manager's core sees it: a pure state machine over its book.
 * Every change is to be committed before any effect is carried out (L3).
 */
import type {
  Hold,
  HoldImage,
  LeaseState,
  LeaseTunnel,
  Offer,
  PeerMove,
  PolicyExplanation,
  Refusal,
  Resources,
  TunnelEnd,
  TunnelReach,
  UnitPrices,
  VmPhase,
  VmSpec,
} from "@muster/protocol";
import type { BurstAnswer, BurstRequest } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";

/** One exchange at its lender; stored under `lend/<peer>/<id>`. Times are site time, see `LenderEnv.nowMs`. */
export type LendRecord = {
  readonly id: string;
  readonly peer: string;
  readonly digest: string;
  readonly stage: LeaseState["stage"];
  /**
   * Of one sequence for all exchanges of this peer here: every visible change of any of them takes the next number, so
   * that "changed after revision n" is a total order for the pull. The record with a peer's highest revision is never
   * forgotten: it carries the sequence, and the peer's highest term, across restarts.
   */
  readonly revision: number;
  /** Highest term of the peer's leaders that was seen when this record was stored (L2). */
  readonly term?: number | undefined;
  /** Absent in a tombstone whose hold never arrived (B3) or was refused. */
  readonly hold?: Hold | undefined;
  readonly leaseMs: number;
  /** End of the hold or lease by our clock; the VM is removed `graceMs` later (B4). */
  readonly expiresAtMs: number;
  readonly renewals: number;
  readonly vmPhase?: LeaseState["vm"];
  readonly address?: string | undefined;
  /** Where its ssh is reached from outside, where it is behind an address of ours. */
  readonly access?: LeaseState["access"];
  readonly reason?: string | undefined;
  /** What the hold was refused with: a repeat gets the same (B1). */
  readonly refusal?: Refusal | undefined;
  /** What the borrower last wanted its VM to be; `running` from the lease on. */
  readonly wanted?: "running" | "paused" | "stopped" | undefined;
  readonly changedAtMs: number;
  /** When the lease began: from then on its VM counts as used. */
  readonly leasedAtMs?: number | undefined;
  /** What it is charged by, as the borrower heard with the hold. */
  readonly prices?: UnitPrices | undefined;
  /** The lender wants the room back: it ends the lease then, for this reason, on behalf of this VM of its own. */
  readonly endsAtMs?: number | undefined;
  readonly endReason?: string | undefined;
  readonly endsFor?: string | undefined;
  /** A hold that an admin has to approve; its stage is `voided` until it is held. */
  readonly approval?: Approval | undefined;
  /** Time of this peer's VMs that are gone, in the period; like `term`, the newest record's counts. */
  readonly used?: UsedTime | undefined;
  /** Its VM sits on its home network: the interface there, and the borrower's end of the tunnel. */
  readonly tunnel?: LeaseTunnel | undefined;
  /** The end at the host that runs it. */
  readonly tunnelEnd?: TunnelEnd | undefined;
};

/** `untilMs`: when it lapses, undecided or unused. */
export type Approval = { readonly state: "pending" | "approved" | "denied"; readonly untilMs: number };

/** VM time in the period that began at `sinceMs`. */
export type UsedTime = { readonly sinceMs: number; readonly vmMs: number };

export type LenderEvent =
  | { readonly kind: "request"; readonly peer: string; readonly ticket: number; readonly request: BurstRequest }
  /** The leased VM moved on at home: phase as its record has it. `deleted` and the like free the exchange. */
  | {
      readonly kind: "vm-changed";
      readonly id: string;
      readonly peer: string;
      readonly phase: VmPhase;
      readonly address?: string | undefined;
      readonly access?: LeaseState["access"];
      readonly reason?: string | undefined;
    }
  /** The host that runs the leased VM has its end of the tunnel, or another host has it now. */
  | { readonly kind: "tunnel-end"; readonly id: string; readonly peer: string; readonly end: TunnelEnd }
  /** An admin approves or denies a hold that waits for it. `peer` where the id alone is ambiguous. */
  | {
      readonly kind: "decide";
      readonly ticket: number;
      readonly id: string;
      readonly peer?: string | undefined;
      readonly approve: boolean;
      readonly reason?: string | undefined;
    }
  /** An admin ends a lease. */
  | {
      readonly kind: "revoke";
      readonly ticket: number;
      readonly id: string;
      readonly peer?: string | undefined;
      readonly noticeMs: number;
      readonly reason: string;
    }
  /** A VM of our own waits, and the end of any one of these leases would let it run (home first). */
  | {
      readonly kind: "make-room";
      readonly vm: string;
      readonly leases: readonly { readonly peer: string; readonly id: string }[];
      readonly reason: string;
    }
  /** The VM of our own for which room was to be made needs it no more: notices that still run are withdrawn. */
  | { readonly kind: "room-found"; readonly vm: string; readonly reason: string }
  | { readonly kind: "tick" };

/** What a wish may say beyond its spec: it is to be on its home network, and its image may be fetched. */
export type WishExtras = { readonly tunnel?: TunnelReach | undefined; readonly image?: HoldImage | undefined };

export type LenderEnv = {
  /** Site time in milliseconds: follows the wall clock across restarts, never goes back within a process. */
  readonly nowMs: number;
  readonly term: number;
  readonly agent: string;
  peering(domain: string): Peering | undefined;
  /** Why the site cannot take the VM now, or `undefined` when it can: free capacity less everything placed and held. */
  roomFor(spec: VmSpec, extras?: WishExtras): Refusal | undefined;
  /**
   * Why no host is left by the peer's shares of classes of hosts, or how far those are used; `undefined` where its policy names
   * none.
   */
  classRoom?(peering: Peering, wish: WishExtras & { readonly spec: VmSpec }): Refusal | string | undefined;
  /** What the whole site has, for the share; and what one more VM could be at most. */
  readonly siteTotal: Resources;
  readonly siteFree: Resources;
  readonly largest: Resources;
  readonly images: readonly string[];
  /** Announced by our admin: nothing new is lent while it lasts. */
  readonly maintenance?: { readonly reason: string; readonly untilMs?: number | undefined } | undefined;
  /** How long after its end a lease's VM may still exist. */
  readonly graceMs: number;
  /** How long closed exchanges and tombstones are remembered: longer than any retry (B1). */
  readonly rememberMs: number;
};

export type LenderChange =
  | { readonly kind: "put"; readonly record: LendRecord }
  | { readonly kind: "forget"; readonly peer: string; readonly id: string };

/**
 * `place`, `want` and `remove` speak of the site's own VM records: what they do belongs in the same commit as the
 * changes of the step, so that a crash cannot come between them. The others go out after that commit.
 */
export type LenderEffect =
  | { readonly kind: "answer"; readonly ticket: number; readonly answer: BurstAnswer }
  | { readonly kind: "refuse"; readonly ticket: number; readonly refusal: Refusal }
  /** A step of the move of a leased VM between the sites: the site answers it. */
  | { readonly kind: "move"; readonly ticket: number; readonly record: LendRecord; readonly step: PeerMove }
  /** What an admin asked is done. */
  | { readonly kind: "done"; readonly ticket: number; readonly record: LendRecord }
  /** Worth a line in the site's events. */
  | { readonly kind: "tell"; readonly record: LendRecord; readonly message: string }
  /** The lease begins: make the VM wanted, as one of ours with this origin. */
  | { readonly kind: "place"; readonly record: LendRecord }
  /** The borrower wants its VM running, paused or stopped. */
  | { readonly kind: "want"; readonly record: LendRecord; readonly wanted: "running" | "paused" | "stopped" }
  /**
   * The lease ended: remove its VM; `vm-changed` with a final phase closes the exchange, also where no such VM is left.
   * Repeated from time to time, and after a start, until then.
   */
  | { readonly kind: "remove"; readonly record: LendRecord; readonly reason: string }
  | { readonly kind: "notify"; readonly peer: string; readonly states: readonly LeaseState[] };

export type LenderStep = { readonly changes: readonly LenderChange[]; readonly effects: readonly LenderEffect[] };

/** What the inventory must count as taken although no VM stands for it yet: open holds. */
export type HeldCapacity = WishExtras & { readonly id: string; readonly peer: string; readonly spec: VmSpec };

/** The machine. `load` takes the stored records after a start; it owns its working set. */
export type Lender = {
  load(records: Iterable<LendRecord>): void;
  step(event: LenderEvent, env: LenderEnv): LenderStep;
  held(): Iterable<HeldCapacity>;
  records(): Iterable<LendRecord>;
  find(peer: string, id: string): LendRecord | undefined;
  /** What each rule says to such a request of the peer now; `undefined` for a stranger. Changes nothing. */
  explain(
    peer: string,
    wish: WishExtras & { readonly spec: VmSpec; readonly leaseMs: number },
    env: LenderEnv,
  ): PolicyExplanation | undefined;
  /** What this peer would be offered now; `undefined` for a stranger. Changes nothing. */
  offer(peer: string, env: LenderEnv): Offer | undefined;
  /** When the next hold or lease runs out, for the tick; `undefined` when none is open. */
  nextDueMs(): number | undefined;
};
