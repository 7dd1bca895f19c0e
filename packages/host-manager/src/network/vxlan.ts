import { err, ok, type Result } from "@muster/base";
import type { NetworksConfig } from "./config.ts";
import type { NetworkDriver } from "./driver.ts";
import type { IpLink, Link } from "./ip-link.ts";

type Underlay = NonNullable<NetworksConfig["underlay"]>;

/** What VXLAN adds to a frame, outer Ethernet, IP and UDP headers included (RFC 7348 §5). */
const OVERHEAD_V4 = 50;
const OVERHEAD_V6 = 70;

/** An interface of ours says so in its alias, by which it is known again; one without it is somebody else's and left alone. */
const ALIAS = "muster vxlan network";

/**
 * One Linux bridge and one VXLAN interface for each network identifier: frames of a network never meet those of another, here
 * or on the way. The bridge has no address of its own, so that guests do not reach the host by it.
 */
export function vxlanDriver(links: IpLink, underlay: Underlay | undefined): NetworkDriver {
  return {
    async make({ nic: { network, vni, mtu } }) {
      if (underlay === undefined)
        return err({
          reason: `this host takes no VXLAN networks such as ${network}: add networks.underlay to host.yaml`,
        });
      if (vni === undefined) return err({ reason: `network ${network} has no VXLAN network identifier` });
      const made = await make(links, underlay, vni, mtu);
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
      const present = await links.list();
      if (!present.ok) throw new Error(present.error);
      const used = new Set(uses.flatMap(({ nic }) => (nic.vni === undefined ? [] : [bridgeName(nic.vni)])));
      const stale = present.value.filter(
        (link) => isOurs(link) && /^mb\d+$/.test(link.ifname) && !used.has(link.ifname),
      );
      for (const { ifname } of stale) {
        // A guest that nobody noted may be on it: its interface is a port of the bridge.
        const ports = present.value.filter(({ master }) => master === ifname);
        if (ports.every(isOurs)) await unmake(links, Number(ifname.slice(2)));
      }
    },
  };
}

export function bridgeName(vni: number): string {
  return `mb${vni}`;
}

export function tunnelName(vni: number): string {
  return `mx${vni}`;
}

async function make(links: IpLink, underlay: Underlay, vni: number, mtu: number): Promise<Result<void, string>> {
  const fits = await checkMtu(links, underlay, mtu);
  if (!fits.ok) return fits;
  const bridge = await ensureBridge(links, vni, mtu);
  if (!bridge.ok) return bridge;
  const tunnel = await ensureTunnel(links, underlay, vni, mtu);
  return tunnel.ok ? ensurePeers(links, underlay, vni) : tunnel;
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

async function ensureBridge(links: IpLink, vni: number, mtu: number): Promise<Result<void, string>> {
  const name = bridgeName(vni);
  const present = await links.find(name);
  if (!present.ok) return present;
  if (present.value !== undefined && !isOurs(present.value))
    return err(`an interface ${name} is there that is not ours`);
  if (present.value === undefined) {
    const added = await links.run(["link", "add", name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"]);
    if (!added.ok) return added;
  }
  return links.run(
    ["link", "set", name, "alias", `${ALIAS} ${vni}`],
    ["link", "set", name, "addrgenmode", "none"],
    ["link", "set", name, "mtu", String(mtu), "up"],
  );
}

async function ensureTunnel(
  links: IpLink,
  underlay: Underlay,
  vni: number,
  mtu: number,
): Promise<Result<void, string>> {
  const name = tunnelName(vni);
  const present = await links.find(name);
  if (!present.ok) return present;
  if (present.value !== undefined && !isOurs(present.value))
    return err(`an interface ${name} is there that is not ours`);
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

/** Brings the list of those who get broadcasts in line with the configuration. */
async function ensurePeers(links: IpLink, { peers, address }: Underlay, vni: number): Promise<Result<void, string>> {
  if (peers === undefined) return ok(undefined);
  const name = tunnelName(vni);
  const present = await links.floodPeers(name);
  if (!present.ok) return present;
  const wanted = peers.filter((peer) => peer !== address);
  for (const peer of wanted.filter((other) => !present.value.includes(other))) {
    const added = await links.changeFloodPeer("append", name, peer);
    if (!added.ok) return added;
  }
  for (const peer of present.value.filter((other) => !wanted.includes(other))) {
    const removed = await links.changeFloodPeer("del", name, peer);
    if (!removed.ok) return removed;
  }
  return ok(undefined);
}

async function unmake(links: IpLink, vni: number): Promise<Result<void, string>> {
  for (const name of [tunnelName(vni), bridgeName(vni)]) {
    const present = await links.find(name);
    if (!present.ok) return present;
    if (present.value === undefined || !isOurs(present.value)) continue;
    const gone = await links.run(["link", "del", name]);
    if (!gone.ok) return gone;
  }
  return ok(undefined);
}

/** Also one that a crash left before it got its alias: an interface is down and without one when it is made. */
function isOurs({ ifalias, flags }: Link): boolean {
  return ifalias === undefined ? !flags.includes("UP") : ifalias.startsWith(ALIAS);
}
