import { err, ok } from "@muster/base";
import type { NetworkDriver } from "./driver.ts";
import type { IpLink } from "./ip-link.ts";

/** Bridges that the host's admin made: looked at, never changed. */
export function bridgeDriver(links: IpLink, bridges: Readonly<Record<string, string>>): NetworkDriver {
  return {
    async lack() {
      return Object.keys(bridges).length === 0
        ? "no bridge of this host is a network of the site: name them in networks.bridges of host.yaml"
        : undefined;
    },
    async make({ nic: { network, mtu } }) {
      const bridge = bridges[network];
      if (bridge === undefined)
        return err({
          reason: `this host has no bridge for network ${network}: add it to networks.bridges of host.yaml`,
        });
      const link = await links.find(bridge);
      if (!link.ok) return err({ reason: link.error });
      if (link.value === undefined)
        return err({ reason: `bridge ${bridge} of network ${network} does not exist on this host` });
      if (link.value.linkinfo?.info_kind !== "bridge")
        return err({ reason: `${bridge} of network ${network} is no bridge` });
      if (link.value.mtu < mtu)
        return err({
          reason: `network ${network} promises an MTU of ${mtu}, bridge ${bridge} has ${link.value.mtu}: change one of them`,
        });
      return ok({ kind: "bridge", bridge });
    },
    async unmake() {},
    async sweep() {},
  };
}
