/**
 * The VXLAN in a tunnel (RFC 7348), and where its port is put: at a gateway on the bridge of the home network, at a guest's
 * end on a bridge that has this port and the guest's, and no other.
 *
 * It is made in the tunnel's own namespace, through which its packets go on, and moved to where the bridges are.
 */
import { err, ok, type Result } from "@muster/base";
import { IpLink } from "../network/ip-link.ts";
import type { TunnelNames } from "./names.ts";

const PORT = 4_789;
const ALIAS = "muster tunnel between sites";

export type OverlayPlan = {
  readonly names: TunnelNames;
  readonly vni: number;
  /** Addresses of both ends inside the tunnel. */
  readonly own: string;
  readonly other: string;
};

export class TunnelOverlay {
  readonly #namespace: string | undefined;
  readonly #links: IpLink;

  /** `namespace`: where the bridges of this host's guests are, if not where the host manager is. */
  constructor(namespace: string | undefined) {
    this.#namespace = namespace;
    this.#links = new IpLink(namespace);
  }

  /** Whether its port is there. */
  async isThere({ vxlan }: TunnelNames): Promise<boolean> {
    const found = await this.#links.find(vxlan);
    return found.ok && found.value !== undefined;
  }

  /** The port, on no bridge yet. */
  async ensurePort({ names, vni, own, other }: OverlayPlan): Promise<Result<void, string>> {
    const { vxlan, namespace } = names;
    const present = await this.#links.find(vxlan);
    if (!present.ok) return present;
    if (present.value !== undefined) {
      if (present.value.linkinfo?.info_data?.id === vni) return ok(undefined);
      const gone = await this.#links.run(["link", "del", vxlan]);
      if (!gone.ok) return gone;
    }
    const inside = new IpLink(namespace);
    const half = await inside.find(vxlan);
    if (!half.ok) return half;
    if (half.value !== undefined) {
      const gone = await inside.run(["link", "del", vxlan]);
      if (!gone.ok) return gone;
    }
    const ends = ["local", own, "remote", other, "dstport", String(PORT)];
    return inside.run(
      ["link", "add", vxlan, "type", "vxlan", "id", String(vni), ...ends, "nolearning"],
      // Without a namespace of their own, guests are where this process is.
      ["link", "set", vxlan, "netns", this.#namespace ?? String(process.pid)],
    );
  }

  /** The bridge of a guest's end. It has no address: the guest does not reach this host by it. */
  async ensureBridge({ bridge }: TunnelNames, mtu: number): Promise<Result<void, string>> {
    const present = await this.#links.find(bridge);
    if (!present.ok) return present;
    if (present.value === undefined) {
      const added = await this.#links.run(
        ["link", "add", bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"],
        ["link", "set", bridge, "alias", ALIAS],
        ["link", "set", bridge, "addrgenmode", "none"],
      );
      if (!added.ok) return added;
    }
    return this.#links.run(["link", "set", bridge, "mtu", String(mtu), "up"]);
  }

  /** Puts the port on the bridge and wakes it up. Frames of the bridge's size pass: the tunnel sends them in pieces. */
  async join({ vxlan }: TunnelNames, bridge: string): Promise<Result<void, string>> {
    const found = await this.#links.find(bridge);
    if (!found.ok) return found;
    if (found.value?.linkinfo?.info_kind !== "bridge") return err(`${bridge} is no bridge of this host`);
    return this.#links.run(
      ["link", "set", vxlan, "alias", ALIAS],
      ["link", "set", vxlan, "addrgenmode", "none"],
      ["link", "set", vxlan, "mtu", String(found.value.mtu)],
      ["link", "set", vxlan, "master", bridge],
    );
  }

  async wake({ vxlan }: TunnelNames): Promise<Result<void, string>> {
    return this.#links.run(["link", "set", vxlan, "up"]);
  }

  /** Takes away the port and a bridge of ours. */
  async remove({ vxlan, bridge }: TunnelNames): Promise<Result<void, string>> {
    for (const name of [vxlan, bridge]) {
      const present = await this.#links.find(name);
      if (!present.ok) return present;
      if (present.value === undefined) continue;
      const gone = await this.#links.run(["link", "del", name]);
      if (!gone.ok) return gone;
    }
    return ok(undefined);
  }
}
