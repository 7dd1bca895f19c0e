/** What stands on a hypervisor of the simulator, and what becomes of it. */
import type { DomainAction, DomainPlan, DomainReport, DomainState, MoveOrder } from "@muster/host-manager";
import type { Resources } from "@muster/protocol";

export type Domain = {
  readonly plan: DomainPlan | undefined;
  used: Resources;
  state: DomainState;
  /** The move that has a hand on it, and how: nothing else may touch it meanwhile. */
  moving?: Moving | undefined;
};

/** What became of a domain, and by whom. */
export type DomainChange = {
  readonly kind: "made" | "state" | "removed";
  readonly vm: string;
  readonly domain: Domain;
  readonly cause: DomainAction | "start" | "power" | "guest" | "operate" | MoveCause;
  readonly command: string;
};

/** What lies on a host's disk with a guest: it outlives the power, and goes with the guest. */
export type Parts = {
  /** Of the guest that they are of. */
  readonly attempt: number;
  readonly snapshots: Map<string, DomainState>;
  readonly volumes: Map<string, { readonly sizeGiB: number; readonly attached: boolean }>;
};

/** By a step of a move; `move-orphaned`: its guest was prepared by a host manager that is gone. */
export type MoveCause = `move-${MoveOrder["step"]}` | "move-orphaned";

export type Moving = {
  readonly id: string;
  /** At the source: `outgoing` still runs, `held` is paused, all of it is over there. `incoming` never ran. */
  readonly role: "outgoing" | "held" | "incoming";
  /** Of an incoming guest: everything has arrived. */
  readonly complete: boolean;
};

export function reportOf(vm: string, { plan, used, state }: Domain): DomainReport {
  return { uuid: vm, state, used, ...(plan === undefined ? {} : { plan }) };
}
