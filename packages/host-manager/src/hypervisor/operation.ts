/**
 * Orders that carry something with them, on top of `DomainAction`. All are safe to repeat: what is done already is done. A
 * saved VM is taken up again by `start`.
 */
import type { HostOperation } from "@muster/protocol";

/** A revert loses what the VM has done since; it runs afterwards where it ran then. */
export type DomainOperation =
  /** Ends the guest at once, without asking it. */
  { readonly kind: "cut-off" } | HostOperation;

export type SnapshotReport = {
  readonly name: string;
  /** Seconds since 1970, by the host's clock. */
  readonly createdAtS: number;
  /** How the VM was; `running` with its memory. */
  readonly state: "running" | "paused" | "stopped";
  /** Whether the VM's present state comes from it. */
  readonly isCurrent: boolean;
};
