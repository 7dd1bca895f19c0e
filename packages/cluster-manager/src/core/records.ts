/** What the store holds for a site: facts only; what is free, or who waits, is derived. */
import type {
  Access,
  BurstChoice,
  DrainPolicy,
  OnNotice,
  Refusal,
  TunnelReach,
  UnderlayEnd,
  VmPhase,
  VmSpec,
  WantedState,
} from "@muster/protocol";

import type { Leftover, LentMove, MoveRecord } from "../move/move-record.ts";
import type { NicRecord } from "../networks/network-record.ts";
import type { OperationRecord, SnapshotRecord, VolumeRecord } from "../operations/operation-record.ts";

/** An accepted request; stored under `request/<id>` before anyone is told (L3). */
export type RequestRecord = {
  readonly id: string;
  /** SHA-256 of what was asked and by whom: same id and other digest is a conflict (B1). */
  readonly digest: string;
  readonly user: string;
  readonly project: string;
  readonly vms: readonly string[];
  readonly acceptedAtMs: number;
};

/** Where a VM is meant to run. The attempt belongs to the place: a new place gets the next one (H5, P1). */
export type Place =
  | { readonly kind: "none" }
  | { readonly kind: "host"; readonly host: string; readonly startedOn: "ordered" | "confirmed" }
  | { readonly kind: "peer"; readonly peer: string; readonly exchange: string };

/** For whom a VM runs. */
export type Origin =
  | { readonly kind: "local" }
  | { readonly kind: "peer"; readonly peer: string; readonly exchange: string };

/** A wanted VM; stored under `vm/<id>`. Times are site time. */
export type VmRecord = {
  readonly id: string;
  readonly name: string;
  readonly request: string;
  readonly project: string;
  readonly user: string;
  readonly spec: VmSpec;
  readonly priority: number;
  readonly burst: BurstChoice;
  readonly leaseMs: number;
  /** The most that an hour of it may cost at a peer, in thousandths. */
  readonly maxPricePerHour?: number | undefined;
  /** What becomes of it when a peer gives notice, where its user said so. */
  readonly onNotice?: OnNotice | undefined;
  readonly origin: Origin;
  readonly phase: VmPhase;
  readonly wanted: WantedState;
  readonly place: Place;
  /** The last attempt given out; 0 before the first. Never reused (H5). */
  readonly attempt: number;
  /** Order of acceptance within the site: the age in the queue. */
  readonly queueOrder: number;
  readonly createdAtMs: number;
  readonly changedAtMs: number;
  readonly expiresAtMs?: number | undefined;
  readonly address?: string | undefined;
  /** Where its ssh is reached from outside, as its host or its lender says. */
  readonly access?: Access | undefined;
  /** What its image stood for when the request was accepted, where the site has its content. */
  readonly imageDigest?: string | undefined;
  /** Its interfaces with what is reserved for them, until it is over. */
  readonly nics?: readonly NicRecord[] | undefined;
  readonly reason?: string | undefined;
  /** Why it ended, where it was refused. */
  readonly refusal?: Refusal | undefined;
  /** Starts that failed in a row, on whichever hosts: bounded, then it is refused. */
  readonly failures?: number | undefined;
  /** Set by a restore: numbers up to this one may have been given since the backup, and are not given again (H5). */
  readonly attemptFloor?: number | undefined;
  /** Set by a restore: it may run at a peer under a lease of which nothing is known here, until then at the latest (P1). */
  readonly notBeforeMs?: number | undefined;
  /** A live move that is under way. */
  readonly move?: MoveRecord | undefined;
  readonly leftover?: Leftover | undefined;
  /** A peer's VM that comes over alive, or goes home. */
  readonly lentMove?: LentMove | undefined;
  /** Its host is being drained and it could not leave: that is what `reason` says. */
  readonly heldBack?: true | undefined;
  /** It is to end on its host, which is being drained, and to start anew elsewhere. */
  readonly evicted?: boolean | undefined;
  /** With `wanted: stopped`: its guest is not asked, but cut off. */
  readonly force?: boolean | undefined;
  /** The last ones, oldest first; the last of them may be under way. */
  readonly operations?: readonly OperationRecord[] | undefined;
  readonly snapshots?: readonly SnapshotRecord[] | undefined;
  readonly volumes?: readonly VolumeRecord[] | undefined;
  /** Its memory lies on its host's disk; the next start goes on from there. */
  readonly saved?: boolean | undefined;
  /** A peer's VM that is on its home network: its host carries tunnels, and has to be reachable where this is `outbound`. */
  readonly tunnel?: TunnelReach | undefined;
};

/** A host that is allowed in; stored under `host/<name>`. */
export type HostRecord = {
  readonly name: string;
  readonly enrolledAtMs: number;
  readonly draining: boolean;
  /** What becomes of its VMs while it is drained; absent: they stay. */
  readonly drainPolicy?: DrainPolicy | undefined;
  /** Fenced: proved dead by an admin; its attempts count as dead (P1). */
  readonly fenced: boolean;
  /** Highest notice taken of which boot, so that repeats are recognised. */
  readonly notices?: { readonly bootId: string; readonly sequence: number } | undefined;
  /** `false` from the enrolment until it is heard for the first time. */
  readonly joined?: boolean | undefined;
  /** Where tunnels to it end, as it said last. */
  readonly underlay?: UnderlayEnd | undefined;
  /** Its admin lets it carry tunnels to other sites. */
  readonly gateway?: boolean | undefined;
};

/** An admin removed this host: a configuration that still names it does not bring it back. Under `removed/<name>`. */
export type RemovedRecord = { readonly name: string; readonly atMs: number };

/** A stored record by kind; the key is `<kind>/<id>`, for exchanges `<kind>/<peer>/<id>`. */
export type RecordChange =
  | { readonly kind: "put"; readonly key: string; readonly value: unknown }
  | { readonly kind: "delete"; readonly key: string };
