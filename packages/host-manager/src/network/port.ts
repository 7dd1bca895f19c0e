/**
 * Port HostNetworks: how a host gives a VM's interfaces something to be attached to. The guest's side of an interface (MAC,
 * MTU, model) is the hypervisor's; bridges, tunnels, reservations of addresses and libvirt networks are behind this port.
 */
import type { Result } from "@muster/base";
import type { Access, GuestNic, NetworkAbilities, UnderlayEnd, UnderlayPeer } from "@muster/protocol";

/**
 * What an interface of a domain is attached to:
 * - `bridge`: a bridge of the host, by its name (at most 15 characters);
 * - `open-vswitch`: a bridge of Open vSwitch, by its name, as a port under this VLAN tag;
 * - `network`: a libvirt network of the host, by its name;
 * - `user`: QEMU's user networking, with the guest's ssh port reachable at `address` and `port` of the host.
 */
export type NicWiring =
  | { readonly kind: "bridge"; readonly bridge: string }
  | { readonly kind: "open-vswitch"; readonly bridge: string; readonly vlan: number }
  | { readonly kind: "network"; readonly network: string }
  | { readonly kind: "user"; readonly forward: { readonly address: string; readonly port: number } };

/** Why an interface cannot be attached, for the one who asked for the VM. */
export type NetworkFault = { readonly reason: string };

/** All calls are safe to repeat. */
export type HostNetworks = {
  /**
   * Makes what the interface needs (bridge, tunnel, reservation of its address) and notes that `vm` uses it. The same VM and
   * MAC get the same wiring again. On a fault, nothing of this interface is left.
   */
  attach(vm: string, nic: GuestNic): Promise<Result<NicWiring, NetworkFault>>;
  /** Gives up everything `vm` uses; what nobody uses any more may be removed. A VM that uses nothing is no fault. */
  release(vm: string): Promise<void>;
  /** Gives up what VMs outside `vms` use, as after a crash between a step and its note. */
  reconcile(vms: ReadonlySet<string>): Promise<void>;
  /** What this host can attach, tried out now. */
  abilities(): Promise<NetworkAbilities>;
  /** Where tunnels to this host end, as the others are to be told. */
  readonly underlay: UnderlayEnd | undefined;
  /** Where tunnels to the hosts of the site end; for hosts whose admin did not say so. */
  learn(peers: readonly UnderlayPeer[]): Promise<void>;
  /** Where the ssh of a VM that is behind this host's address is reached. */
  accessOf(vm: string): Access | undefined;
};
