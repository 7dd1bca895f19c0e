/**
 * Port Tunnels: the ends of tunnels between sites that this host has, for its leader's orders and for the networks of its
 * guests. All calls are safe to repeat.
 */
import type { Result } from "@muster/base";
import type { GuestNic, Refusal, TunnelAbility, TunnelEnd, TunnelOrder, TunnelState } from "@muster/protocol";

/** An end as it is to be. */
export type TunnelPlan = {
  /** Of the exchange. */
  readonly id: string;
  /** `gateway`: on the bridge of the home network; `guest`: on a bridge with the one guest and nothing else. */
  readonly end: "gateway" | "guest";
  readonly attempt: number;
  readonly vm: string;
  readonly vni: number;
  readonly nic: GuestNic;
  /** The other end, where it is known already. */
  readonly peer?: TunnelEnd | undefined;
};

/** An end that is there: its own half of the keys, and the bridge that it is on. */
export type OpenTunnel = { readonly own: TunnelEnd; readonly bridge: string };

export type Tunnels = {
  /** What this host can do, probed once; before that it is not ready. */
  readonly ability: TunnelAbility;
  /** Probes, brings back what was noted and removes what was not. */
  start(): Promise<void>;
  /** Carries out an order of the leader, one after the other. */
  carryOut(order: TunnelOrder): Promise<Result<TunnelState, Refusal>>;
  /** The guest's end of a VM that is about to start here; the fault says why there is none, and nothing of it is left. */
  attach(vm: string, nic: GuestNic): Promise<Result<OpenTunnel, string>>;
  /** Gives up the ends of the VM's interfaces. */
  release(vm: string): Promise<void>;
  /** Gives up the ends of VMs outside `vms`. */
  reconcile(vms: ReadonlySet<string>): Promise<void>;
  /** What gateway ends use of the host's own networks, by the names under which they use it. */
  uses(): readonly string[];
  /** Removes all of them, as when the machine is no host any more; instead of `start`. */
  clear(): Promise<void>;
  /** Stops looking after them; they go on. */
  stop(): void;
};
