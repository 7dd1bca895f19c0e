/**
 * Port of live migration at one host: the steps of `move`, as its hypervisor has them.
 *
 * - M1 Nothing is lost by a step that fails: until `finish` was carried out the guest can go on at its source, by `resume`.
 * - M2 `perform` leaves the guest paused; it goes on only by `finish` over there or by `resume` here (P1).
 * - M3 `finish`, `abandon`, `confirm` and `resume` are safe to repeat, also by a new process over the same hypervisor.
 * - M4 After `abandon` and after `confirm` nothing of the guest is left here: no domain, disk, seed or network.
 */
import type { MoveLink, MoveStep } from "@muster/protocol";
import type { DomainPlan, DomainReport } from "../hypervisor/port.ts";

export type MoveOrder =
  | {
      readonly step: "begin" | "finish" | "abandon" | "confirm" | "resume";
      readonly vm: string;
      readonly cookie?: string;
    }
  | {
      readonly step: "prepare";
      readonly vm: string;
      readonly plan: DomainPlan;
      readonly xml: string;
      readonly cookie: string;
    }
  | { readonly step: "perform"; readonly vm: string; readonly link: MoveLink; readonly cookie: string };

/** What a step hands on to the next one. */
export type MoveYield = { readonly cookie?: string; readonly xml?: string; readonly link?: MoveLink };

export type MoveOutcome =
  /** With the domain where one is here afterwards. */
  | ({ readonly kind: "done"; readonly domain?: DomainReport } & MoveYield)
  /** It did not happen, and what there was before is there still (M1). */
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

export type MoveProgress = { readonly doneMiB: number; readonly totalMiB: number };

export type Mover = {
  carryOut(order: MoveOrder): Promise<MoveOutcome>;
  /** Ends a `perform` that is under way, which then comes back refused; without effect where none is. */
  cancel(vm: string): Promise<void>;
  /** How far a `perform` is; `undefined` where that cannot be told. */
  progress(vm: string): Promise<MoveProgress | undefined>;
};

/** A step that can be ordered, as the core names it. */
export type OrderedStep = Exclude<MoveStep, "cancel">;
