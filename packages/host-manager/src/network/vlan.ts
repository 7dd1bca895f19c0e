import { err, ok, type Result } from "@muster/base";
import type { NetworksConfig } from "./config.ts";
import type { NetworkDriver } from "./driver.ts";
import type { IpLink } from "./ip-link.ts";
import type { OpenVSwitch } from "./open-vswitch.ts";
import { ensureOwnBridge, findOwnLink, removeOwnLinks, staleBridges } from "./own-link.ts";
import type { NicWiring } from "./port.ts";

type Trunk = NonNullable<NetworksConfig["vlan"]>;
/** What the admin's trunk is: each attaches guests in its own way. */
type TrunkKind = "open-vswitch" | "linux-bridge";

const ALIAS = "muster vlan network";
const BRIDGE_PREFIX = "mv";
/** The tag that every port of a Linux bridge has at first. */
const FIRST_TAG = 1;

/**
 * VLANs by a trunk that the admin made. In Open vSwitch a guest's interface is a port of it under the network's tag, which
 * libvirt makes and removes. A Linux bridge with `vlan_filtering` gives libvirt no such port before its version 11: there each
 * tag has a bridge of its own, with a cable to an untagged port of the trunk.
 */
export function vlanDriver(links: IpLink, switches: OpenVSwitch, trunk: Trunk | undefined): NetworkDriver {
  return {
    async lack() {
      if (trunk === undefined) return NO_TRUNK;
      const kind = await trunkKind(links, switches, trunk);
      return kind.ok ? undefined : kind.error;
    },
    async make({ nic: { network, vlan, mtu } }) {
      if (trunk === undefined)
        return err({ reason: `this host takes no VLANs such as network ${network}: ${NO_TRUNK}` });
      if (vlan === undefined) return err({ reason: `network ${network} has no VLAN tag` });
      const made = await make(links, switches, trunk, { vlan, mtu });
      return made.ok ? made : err({ reason: `network ${network}: ${made.error}` });
    },
    async unmake({ nic: { vlan } }, last) {
      if (!last || vlan === undefined) return;
      const gone = await removeOwnLinks(links, [trunkEnd(vlan), vlanBridgeName(vlan)], ALIAS);
      if (!gone.ok) throw new Error(gone.error);
    },
    async sweep(uses) {
      const used = new Set(uses.flatMap(({ nic }) => nic.vlan ?? []));
      for (const tag of await staleBridges(links, BRIDGE_PREFIX, ALIAS, used)) {
        const gone = await removeOwnLinks(links, [trunkEnd(tag), vlanBridgeName(tag)], ALIAS);
        if (!gone.ok) throw new Error(gone.error);
      }
    },
  };
}

export function vlanBridgeName(tag: number): string {
  return `${BRIDGE_PREFIX}${tag}`;
}

/** Ends of the cable between a tag's own bridge and the trunk. */
function trunkEnd(tag: number): string {
  return `${BRIDGE_PREFIX}${tag}t`;
}
function bridgeEnd(tag: number): string {
  return `${BRIDGE_PREFIX}${tag}b`;
}

const NO_TRUNK = "make a trunk bridge and name it in networks.vlan of host.yaml";

async function trunkKind(links: IpLink, switches: OpenVSwitch, { bridge }: Trunk): Promise<Result<TrunkKind, string>> {
  const inSwitch = await switches.hasBridge(bridge);
  if (inSwitch.ok && inSwitch.value) return ok("open-vswitch");
  const link = await links.find(bridge);
  if (!link.ok) return link;
  const remedy = `make it with Open vSwitch (ovs-vsctl add-br ${bridge}), or as a bridge with vlan_filtering 1`;
  if (link.value === undefined) {
    const why = inSwitch.ok ? "" : ` (Open vSwitch does not answer: ${inSwitch.error.slice(0, 120)})`;
    return err(`the trunk ${bridge} does not exist${why}: ${remedy}`);
  }
  if (link.value.linkinfo?.info_kind !== "bridge") return err(`the trunk ${bridge} is no bridge: ${remedy}`);
  if (link.value.linkinfo.info_data?.vlan_filtering === 1) return ok("linux-bridge");
  return err(
    `the trunk ${bridge} does not tell VLANs apart: ip link set ${bridge} type bridge vlan_filtering 1, ` +
      "or where the kernel cannot do that, Open vSwitch",
  );
}

type Wish = { readonly vlan: number; readonly mtu: number };

async function make(
  links: IpLink,
  switches: OpenVSwitch,
  trunk: Trunk,
  wish: Wish,
): Promise<Result<NicWiring, string>> {
  const { vlan, mtu } = wish;
  if (mtu > trunk.mtu)
    return err(`its MTU of ${mtu} does not fit: networks.vlan.mtu of this host's host.yaml is ${trunk.mtu}`);
  const kind = await trunkKind(links, switches, trunk);
  if (!kind.ok) return kind;
  if (kind.value === "open-vswitch") return ok({ kind: "open-vswitch", bridge: trunk.bridge, vlan });
  const bridge = await ensureOwnBridge(links, vlanBridgeName(vlan), aliasOf(vlan), mtu);
  if (!bridge.ok) return bridge;
  const cable = await ensureCable(links, trunk, wish);
  return cable.ok ? ok({ kind: "bridge", bridge: vlanBridgeName(vlan) }) : cable;
}

async function ensureCable(links: IpLink, trunk: Trunk, { vlan, mtu }: Wish): Promise<Result<void, string>> {
  const [outer, inner] = [trunkEnd(vlan), bridgeEnd(vlan)];
  const present = await findOwnLink(links, outer, ALIAS);
  if (!present.ok) return present;
  if (present.value?.master === trunk.bridge && present.value.flags.includes("UP")) return ok(undefined);
  // It goes up last: one that is down was never finished.
  const gone = await removeOwnLinks(links, [outer], ALIAS);
  if (!gone.ok) return gone;
  const added = await links.run(["link", "add", outer, "type", "veth", "peer", "name", inner]);
  if (!added.ok) return added;
  const set = (name: string, master: string): readonly (readonly string[])[] => [
    ["link", "set", name, "alias", aliasOf(vlan)],
    ["link", "set", name, "addrgenmode", "none"],
    ["link", "set", name, "mtu", String(mtu)],
    ["link", "set", name, "master", master],
  ];
  const placed = await links.run(...set(outer, trunk.bridge), ...set(inner, vlanBridgeName(vlan)));
  if (!placed.ok) return placed;
  // Before it goes up: not a single frame of the trunk's first tag gets in.
  const tagged = await links.runBridge(
    ["vlan", "add", "dev", outer, "vid", String(vlan), "pvid", "untagged"],
    ...(vlan === FIRST_TAG ? [] : [["vlan", "del", "dev", outer, "vid", String(FIRST_TAG)]]),
  );
  return tagged.ok ? links.run(["link", "set", inner, "up"], ["link", "set", outer, "up"]) : tagged;
}

function aliasOf(tag: number): string {
  return `${ALIAS} ${tag}`;
}
