/** What the host's packet filter has to do for guests, as iptables-restore(8) reads it. Pure. */
import { gatewayOf, subnetText } from "./gateway.ts";
import { natBridgeName } from "./nat.ts";
import type { NicUse } from "./uses-file.ts";

/** A guest behind the host's address: where it is, and the port that leads to its ssh. */
export type Door = { readonly bridge: string; readonly guest: string; readonly port: number };

/** Our own chains, and the built-in ones from whose top each is called. */
export const CHAINS = [
  { table: "filter", from: "FORWARD", chain: "MUSTER-FORWARD" },
  { table: "filter", from: "INPUT", chain: "MUSTER-INPUT" },
  { table: "nat", from: "PREROUTING", chain: "MUSTER-DOORS" },
  { table: "nat", from: "OUTPUT", chain: "MUSTER-DOORS" },
  { table: "nat", from: "POSTROUTING", chain: "MUSTER-OUTSIDE" },
] as const;
export type ChainName = (typeof CHAINS)[number]["chain"];

export type FirewallRules = Readonly<Record<ChainName, readonly string[]>>;

export type FirewallPlan = {
  readonly rules: FirewallRules;
  /** Whether packets are to go through this host: it is no use without. Else the rules only keep guests from what is closed anyway. */
  readonly routes: boolean;
};

export type FirewallWish = {
  readonly uses: readonly NicUse[];
  /** Address of the host whose ports lead to guests, where its admin gave one. */
  readonly accessAddress?: string | undefined;
  /** UDP port of VXLAN, where this host has tunnels. */
  readonly vxlanPort?: number | undefined;
  /** Interface of the network between the hosts, where that is no way to anywhere else: guests have no business in it. */
  readonly betweenHosts?: string | undefined;
};

const SSH_PORT = 22;

/** Rules in order, without `-A <chain>`; `undefined` where nothing is to be done. */
export function firewallPlan(wish: FirewallWish): FirewallPlan | undefined {
  const gateways = new Map(
    wish.uses.flatMap(({ nic }) => {
      const gateway = gatewayOf(nic);
      return gateway === undefined ? [] : [[gateway.bridge, gateway] as const];
    }),
  );
  const doors = wish.accessAddress === undefined ? [] : doorsOf(wish.uses);
  const routes = wish.uses.some(leavesHost);
  if (!routes && !wish.uses.some(({ nic }) => nic.attachment === "vxlan" || nic.attachment === "vlan"))
    return undefined;
  const led = [...gateways.values()].sort((left, right) => (left.bridge < right.bridge ? -1 : 1));
  const opened = doors.map(
    ({ bridge, guest }) =>
      `-o ${bridge} -d ${guest}/32 -p tcp -m tcp --dport ${SSH_PORT} -m conntrack --ctstate DNAT -j ACCEPT`,
  );
  const rules = {
    "MUSTER-FORWARD": [
      ...noForgedTunnels(wish),
      ...opened,
      ...led.flatMap(({ bridge, cidr }) => forward(bridge, subnetText(cidr))),
      ...CLOSED_FORWARD,
    ],
    "MUSTER-INPUT": [
      ...led.flatMap(({ bridge, address }) => [
        `-i ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        `-i ${bridge} -d ${address}/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT`,
      ]),
      ...CLOSED_INPUT,
    ],
    "MUSTER-DOORS": doors.map(
      ({ guest, port }) =>
        `-d ${wish.accessAddress}/32 -p tcp -m tcp --dport ${port} -j DNAT --to-destination ${guest}:${SSH_PORT}`,
    ),
    "MUSTER-OUTSIDE": led.map(({ bridge, cidr }) => `-s ${subnetText(cidr)} ! -o ${bridge} -j MASQUERADE`),
  };
  return { rules, routes };
}

/**
 * Bridges that the host manager makes. Without an address they are no way into the host, unless a guest knows the bridge's MAC:
 * the kernel takes what is sent to it for its own, whatever interface the address is on.
 */
const OWN_BRIDGES = ["mb+", "mv+"] as const;

const CLOSED_FORWARD = OWN_BRIDGES.map((bridges) => `-i ${bridges} ! -o ${bridges} -j DROP`);
const CLOSED_INPUT = OWN_BRIDGES.map((bridges) => `-i ${bridges} -j DROP`);

/** Where nothing leads in or out. */
export const ISOLATED: FirewallRules = {
  "MUSTER-FORWARD": CLOSED_FORWARD,
  "MUSTER-INPUT": CLOSED_INPUT,
  "MUSTER-DOORS": [],
  "MUSTER-OUTSIDE": [],
};

/** Whether packets of the guest go beyond its network under the host's address. */
export function leavesHost({ nic }: Pick<NicUse, "nic">): boolean {
  return nic.attachment === "nat" || gatewayOf(nic) !== undefined;
}

/** Whether a port of the host may lead to a guest by such an interface: others are reached at their own addresses. */
export function isBehindHost({ nic }: Pick<NicUse, "nic">): boolean {
  if (nic.attachment === "user") return true;
  return nic.address !== undefined && leavesHost({ nic });
}

function doorsOf(uses: readonly NicUse[]): readonly Door[] {
  return uses.flatMap((use) => {
    const { nic, port } = use;
    if (port === undefined || nic.attachment === "user" || !isBehindHost(use)) return [];
    const bridge = nic.attachment === "nat" ? natBridgeName(nic.network) : gatewayOf(nic)?.bridge;
    const guest = nic.address?.split("/")[0];
    return bridge === undefined || guest === undefined ? [] : [{ bridge, guest, port }];
  });
}

/** A guest's packet leaves under the host's address, from which tunnels are believed: none may look like one. */
function noForgedTunnels({ uses, vxlanPort, betweenHosts }: FirewallWish): readonly string[] {
  if (vxlanPort === undefined || !uses.some(leavesHost)) return [];
  return ["mb+", "mn+"].flatMap((bridges) => [
    `-i ${bridges} ! -o ${bridges} -p udp -m udp --dport ${vxlanPort} -j DROP`,
    ...(betweenHosts === undefined ? [] : [`-i ${bridges} -o ${betweenHosts} -j DROP`]),
  ]);
}

/** Out to anywhere but the networks of others; in only what answers. */
function forward(bridge: string, subnet: string): readonly string[] {
  return [
    // Where the kernel shows frames within a bridge to iptables as well: they are the tenant's own affair.
    `-i ${bridge} -o ${bridge} -j ACCEPT`,
    `-i ${bridge} -o mb+ -j DROP`,
    `-i ${bridge} -o mn+ -j DROP`,
    `-i ${bridge} ! -s ${subnet} -j DROP`,
    `-i ${bridge} -j ACCEPT`,
    `-o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-o ${bridge} -j DROP`,
  ];
}
