import { z } from "zod";

/**
 * What a host says of an attempt to run a VM.
 *
 * - `starting`: stored, not yet acted on, or libvirt is at it; `running`, `paused`, `stopped`: as libvirt reports;
 * - `failed`: the start was tried and failed for good; no domain is left;
 * - `void`: this attempt never started and never will (H5);
 * - `gone`: it ran and was deleted as ordered.
 */
export const hostVmStateSchema = z.enum(["starting", "running", "paused", "stopped", "failed", "void", "gone"]);
export type HostVmState = z.output<typeof hostVmStateSchema>;

/** What a user wants the VM to be. */
export const wantedStateSchema = z.enum(["running", "paused", "stopped", "deleted"]);
export type WantedState = z.output<typeof wantedStateSchema>;

/**
 * Where a VM of a request stands for its user.
 *
 * `queued` waits for room; `placing` has a place and a start under way; `running`, `paused`, `stopped` as the place says;
 * `deleting` is being removed; `in-doubt`: its host or peer is not heard, nobody restarts it on hearsay (P1).
 * The last four are final (P3): `deleted`, `refused`, `cancelled` (before it ever ran), `expired` (waited too long).
 */
export const vmPhaseSchema = z.enum([
  "queued",
  "placing",
  "running",
  "paused",
  "stopped",
  "deleting",
  "in-doubt",
  "deleted",
  "refused",
  "cancelled",
  "expired",
]);
export type VmPhase = z.output<typeof vmPhaseSchema>;

/** Whether the phase is an end: nothing is owed to the user any more (P3). */
export function isFinal(phase: VmPhase): boolean {
  return phase === "deleted" || phase === "refused" || phase === "cancelled" || phase === "expired";
}
