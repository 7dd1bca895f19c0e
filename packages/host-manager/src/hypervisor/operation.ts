/**
 * Orders that carry something with them, on top of `DomainAction`. All are safe to repeat: what is done already is done. A
 * saved VM is taken up again by `start`.
 */
import { z } from "zod";

/** Name of a snapshot or a volume: it becomes part of a file name and of libvirt's XML. */
export const partNameSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?$/, "must be 1 to 32 lower-case letters, digits, dots or dashes");

export type DomainOperation =
  /** Ends the guest at once, without asking it. */
  | { readonly kind: "cut-off" }
  /** Writes the memory to disk and stops; the next start goes on from there. */
  | { readonly kind: "save" }
  /** Disks, and the memory where it runs. */
  | { readonly kind: "create-snapshot"; readonly name: string }
  /** What the VM has done since is lost; it runs afterwards where it ran then. */
  | { readonly kind: "revert-snapshot"; readonly name: string }
  | { readonly kind: "delete-snapshot"; readonly name: string }
  /** A disk of its own beside the first one, made where it is not there yet; live where the VM runs. */
  | { readonly kind: "attach-volume"; readonly name: string; readonly sizeGiB: number }
  /** With `discard`, what is on it is lost; without, it can be attached again. */
  | { readonly kind: "detach-volume"; readonly name: string; readonly discard: boolean }
  /** Of a stopped VM. A disk only grows. */
  | { readonly kind: "resize"; readonly vcpus?: number; readonly memoryMiB?: number; readonly diskGiB?: number };

export type SnapshotReport = {
  readonly name: string;
  /** Seconds since 1970, by the host's clock. */
  readonly createdAtS: number;
  /** How the VM was; `running` with its memory. */
  readonly state: "running" | "paused" | "stopped";
  /** Whether the VM's present state comes from it. */
  readonly isCurrent: boolean;
};

/** Most snapshots of one VM, and most volumes (S2). */
export const SNAPSHOTS_MAX = 16;
export const VOLUMES_MAX = 8;
