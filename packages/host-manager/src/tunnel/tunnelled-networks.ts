import { err, ok } from "@muster/base";
import type { HostNetworks } from "../network/port.ts";
import type { Tunnels } from "./port.ts";

/** The networks of a host of which some interfaces are on a network at another site. */
export function tunnelledNetworks(networks: HostNetworks, tunnels: Tunnels): HostNetworks {
  return {
    abilities: () => networks.abilities(),
    get underlay() {
      return networks.underlay;
    },
    learn: (peers) => networks.learn(peers),
    accessOf: (vm) => networks.accessOf(vm),
    async attach(vm, nic) {
      if (nic.tunnel === undefined) return networks.attach(vm, nic);
      const made = await tunnels.attach(vm, nic);
      return made.ok ? ok({ kind: "bridge", bridge: made.value.bridge }) : err({ reason: made.error });
    },
    async release(vm) {
      await networks.release(vm);
      await tunnels.release(vm);
    },
    async reconcile(vms) {
      await networks.reconcile(new Set([...vms, ...tunnels.uses()]));
      await tunnels.reconcile(vms);
    },
  };
}
