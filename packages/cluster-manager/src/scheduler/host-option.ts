import type { NetworkAbilities, Resources, TunnelAbility, TunnelReach } from "@muster/protocol";

/** Why a host, or a peer, does not take a VM: a machine reason and a sentence (P4). */
export type Reason = { readonly reason: string; readonly message: string };

/** One host as the scheduler sees it: an immutable view, so that a decision is made on one state of the world. */
export type HostOption = {
  readonly name: string;
  /** What stands in the way of every VM: not heard, draining, fenced, … */
  readonly obstacle?: Reason | undefined;
  /** Said by the host itself, when its own sums leave no room (H4). */
  readonly full: boolean;
  /** Overcommit applied, the host's own reservation taken off. */
  readonly size: Resources;
  /** `size` less all that was promised there (P2). */
  readonly free: Resources;
  readonly vms: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly images: ReadonlySet<string>;
  /** What it says that VMs can be attached to; absent where it says nothing. */
  readonly networks?: NetworkAbilities | undefined;
  /** What it says of tunnels to other sites; absent where it carries none. */
  readonly tunnel?: TunnelAbility | undefined;
  /** VMs there by affinity group, and by anti-affinity group. */
  readonly affinity: ReadonlyMap<string, number>;
  readonly antiAffinity: ReadonlyMap<string, number>;
};

/** A network, and what a host must be able to do for it. */
export type NetworkDemand = { readonly name: string; readonly abilities: readonly string[] };

/** What is to be placed. Groups carry their project, so that projects do not meet in one name. */
export type Demand = {
  readonly resources: Resources;
  readonly labels: readonly (readonly [string, string])[];
  /** The image by all names under which a host may announce it. */
  readonly images: readonly string[];
  readonly affinity?: string | undefined;
  readonly antiAffinity?: string | undefined;
  /** Networks that it is to be attached to, in order; absent: none. */
  readonly networks?: readonly NetworkDemand[] | undefined;
  /** Its host carries its tunnel home; `outbound`: and has to be reached by the other end. */
  readonly tunnel?: TunnelReach | undefined;
  /** Hosts that this VM may not be placed on, whatever room they have, and why. */
  readonly barred?: ReadonlyMap<string, Reason> | undefined;
  /** Hosts that turned this VM down lately. */
  readonly avoid?: ReadonlySet<string> | undefined;
};
