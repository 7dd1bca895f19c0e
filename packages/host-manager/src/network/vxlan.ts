import { err, ok, type Result } from "@muster/base";
import type { GuestNic, UnderlayPeer } from "@muster/protocol";
import type { NetworksConfig } from "./config.ts";
import type { NetworkDriver } from "./driver.ts";
import { ensureGateway, gatewayOf } from "./gateway.ts";
import type { FloodTarget, IpLink, Link } from "./ip-link.ts";
import { ensureOwnBridge, findOwnLink, removeOwnLinks, staleBridges } from "./own-link.ts";

type Underlay = NonNullable<NetworksConfig["underlay"]>;

/** What VXLAN adds to a frame, outer Ethernet, IP and UDP headers included (RFC 7348 §5). */
const OVERHEAD_V4 = 50;
const OVERHEAD_V6 = 70;

/** An interface of ours says so in its alias, by which it is known again; one without it is somebody else's and left alone. */
const ALIAS = "muster vxlan network";
const BRIDGE_PREFIX = "mb";

/** What the leader told of the other hosts' tunnels; `undefined` until it did. */
export type LearnedPeers = () => readonly UnderlayPeer[] | undefined;

/**
 * One Linux bridge and one VXLAN interface for each network identifier: frames of a network never meet those of another, here
 * or on the way. The bridge has no address of its own, so that guests do not reach the host by it; unless the network has a
 * route outside, see `gateway.ts`.
 */
export function vxlanDriver(
  links: IpLink,
  underlay: Underlay | undefined,
  learned: LearnedPeers = () => undefined,
): NetworkDriver {
  return {
    async lack() {
      if (underlay === undefined) return NO_UNDERLAY;
      const below = await links.holderOf(underlay.address);
      return below.ok ? undefined : `${below.error}: correct networks.underlay.address in host.yaml`;
    },
    async make({ nic }) {
      const { network, vni } = nic;
      if (underlay === undefined)
        return err({ reason: `this host takes no VXLAN networks such as ${network}: ${NO_UNDERLAY}` });
      if (vni === undefined) return err({ reason: `network ${network} has no VXLAN network identifier` });
      const made = await make(links, underlay, nic, vni, learned());
      return made.ok
        ? ok({ kind: "bridge", bridge: bridgeName(vni) })
        : err({ reason: `network ${network}: ${made.error}` });
    },
    async unmake({ nic: { vni } }, last) {
      if (!last || vni === undefined) return;
      const gone = await unmake(links, vni);
      if (!gone.ok) throw new Error(gone.error);
    },
    async sweep(uses) {
      const used = new Set(uses.flatMap(({ nic }) => nic.vni ?? []));
      for (const vni of await staleBridges(links, BRIDGE_PREFIX, ALIAS, used)) await unmake(links, vni);
    },
    async refresh(uses) {
      if (underlay === undefined) return;
      const faults: string[] = [];
      for (const vni of new Set(uses.flatMap(({ nic }) => nic.vni ?? []))) {
        const brought = await ensurePeers(links, underlay, vni, learned());
        if (!brought.ok) faults.push(brought.error);
      }
      if (faults.length > 0) throw new Error(faults.join("; "));
    },
  };
}

export function bridgeName(vni: number): string {
  return `${BRIDGE_PREFIX}${vni}`;
}

export function tunnelName(vni: number): string {
  return `mx${vni}`;
}

const NO_UNDERLAY = "add networks.underlay to host.yaml";

async function make(
  links: IpLink,
  underlay: Underlay,
  nic: GuestNic,
  vni: number,
  learned: readonly UnderlayPeer[] | undefined,
): Promise<Result<void, string>> {
  const { mtu } = nic;
  const fits = await checkMtu(links, underlay, mtu);
  if (!fits.ok) return fits;
  const bridge = await ensureOwnBridge(links, bridgeName(vni), `${ALIAS} ${vni}`, mtu);
  if (!bridge.ok) return bridge;
  const tunnel = await ensureTunnel(links, underlay, vni, mtu);
  if (!tunnel.ok) return tunnel;
  const gateway = gatewayOf(nic);
  const led = gateway === undefined ? ok(undefined) : await ensureGateway(links, gateway, tunnelName(vni));
  return led.ok ? ensurePeers(links, underlay, vni, learned) : led;
}

/** A frame that does not fit through the tunnel would vanish without a word. */
async function checkMtu(links: IpLink, { address }: Underlay, mtu: number): Promise<Result<void, string>> {
  const below = await links.holderOf(address);
  if (!below.ok) return err(`${below.error}: correct networks.underlay.address in host.yaml`);
  const most = below.value.mtu - (address.includes(":") ? OVERHEAD_V6 : OVERHEAD_V4);
  return mtu <= most
    ? ok(undefined)
    : err(`its MTU of ${mtu} does not fit: the network between the hosts leaves ${most}`);
}

async function ensureTunnel(
  links: IpLink,
  underlay: Underlay,
  vni: number,
  mtu: number,
): Promise<Result<void, string>> {
  const name = tunnelName(vni);
  const present = await findOwnLink(links, name, ALIAS);
  if (!present.ok) return present;
  const stays = present.value !== undefined && isTunnelOf(present.value, underlay, vni);
  if (present.value !== undefined && !stays) {
    const gone = await links.run(["link", "del", name]);
    if (!gone.ok) return gone;
  }
  if (!stays) {
    const added = await addTunnel(links, underlay, vni);
    if (!added.ok) return added;
  }
  return links.run(
    ["link", "set", name, "alias", `${ALIAS} ${vni}`],
    ["link", "set", name, "addrgenmode", "none"],
    ["link", "set", name, "mtu", String(mtu)],
    ["link", "set", name, "master", bridgeName(vni)],
    ["link", "set", name, "up"],
  );
}

async function addTunnel(
  links: IpLink,
  { address, group, port }: Underlay,
  vni: number,
): Promise<Result<void, string>> {
  const by = ["type", "vxlan", "id", String(vni), "local", address, "dstport", String(port)];
  if (group === undefined) return links.run(["link", "add", tunnelName(vni), ...by]);
  // A group is joined on one interface: the one with our address.
  const device = await links.holderOf(address);
  if (!device.ok) return device;
  return links.run(["link", "add", tunnelName(vni), ...by, "group", group, "dev", device.value.name]);
}

function isTunnelOf(link: Link, { address, group, port }: Underlay, vni: number): boolean {
  const data = link.linkinfo?.info_data;
  return (
    link.linkinfo?.info_kind === "vxlan" &&
    data?.id === vni &&
    (data.local ?? data.local6) === address &&
    (data.group ?? data.group6) === group &&
    data.port === port
  );
}

/** Brings the list of those who get broadcasts in line with the configuration, or with what the leader told. */
async function ensurePeers(
  links: IpLink,
  underlay: Underlay,
  vni: number,
  learned: readonly UnderlayPeer[] | undefined,
): Promise<Result<void, string>> {
  const wanted = wantedTargets(underlay, learned);
  if (wanted === undefined) return ok(undefined);
  const name = tunnelName(vni);
  const present = await links.floodTargets(name);
  if (!present.ok) return present;
  const lacks = (all: readonly FloodTarget[], one: FloodTarget): boolean =>
    !all.some(({ address, port }) => address === one.address && port === one.port);
  for (const target of wanted.filter((one) => lacks(present.value, one))) {
    const added = await links.changeFloodPeer("append", name, target.address, target.port);
    if (!added.ok) return added;
  }
  for (const target of present.value.filter((one) => lacks(wanted, one))) {
    const removed = await links.changeFloodPeer("del", name, target.address, target.port);
    if (!removed.ok) return removed;
  }
  return ok(undefined);
}

/** `undefined`: nobody said who they are, or a group does; what is there stays. */
function wantedTargets(
  { peers, group, address, port }: Underlay,
  learned: readonly UnderlayPeer[] | undefined,
): readonly FloodTarget[] | undefined {
  if (group !== undefined) return undefined;
  if (peers !== undefined) return peers.filter((peer) => peer !== address).map((peer) => ({ address: peer }));
  return learned
    ?.filter((peer) => peer.address !== address)
    .map((peer) => ({ address: peer.address, ...(peer.port === port ? {} : { port: peer.port }) }));
}

function unmake(links: IpLink, vni: number): Promise<Result<void, string>> {
  return removeOwnLinks(links, [tunnelName(vni), bridgeName(vni)], ALIAS);
}
