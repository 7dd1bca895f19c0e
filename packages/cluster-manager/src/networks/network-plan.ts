/** What a wish for a network comes to: everything left out is filled in, and what does not fit together is refused. */
import { err, ok, type Result } from "@muster/base";
import { type NetworkCreate, type Refusal, refusal } from "@muster/protocol";
import { POOL_ADDRESSES_MAX } from "./address-pool.ts";
import {
  type AddressRange,
  addressNumber,
  addressText,
  overlaps,
  type Subnet,
  subnetOf,
  usable,
  within,
} from "./ipv4.ts";
import type { NetworkBook } from "./network-book.ts";
import type { NetworkRecord } from "./network-record.ts";

const MTU_PLAIN = 1_500;
/** Room for a VXLAN header, and for one inside a WireGuard tunnel. */
const MTU_VXLAN = 1_450;
const MTU_BURSTABLE = 1_370;

export type VniRange = { readonly first: number; readonly last: number };
export const VNI_RANGE: VniRange = { first: 10_000, last: 19_999 };

type Plan = Omit<NetworkRecord, "user" | "createdAtMs">;

export function planNetwork(book: NetworkBook, create: NetworkCreate, vnis: VniRange): Result<Plan, Refusal> {
  const addresses = planAddresses(create);
  if (!addresses.ok) return addresses;
  const vni = planVni(book, create, vnis);
  if (!vni.ok) return vni;
  const fault = vlanFault(book, create) ?? outsideFault(book, create, addresses.value);
  if (fault !== undefined) return err(fault);
  if (create.default && create.projects !== "*")
    return bad("projects", "the default network is for everybody: leave projects out, or make it no default");
  const { name, attachment, nameservers, burstable, projects, vlan, outside } = create;
  return ok({
    name,
    attachment,
    ...addresses.value,
    ...(nameservers === undefined ? {} : { nameservers }),
    ...(vni.value === undefined ? {} : { vni: vni.value }),
    ...(vlan === undefined ? {} : { vlan }),
    ...(outside === undefined ? {} : { outside }),
    mtu: create.mtu ?? (burstable ? MTU_BURSTABLE : attachment === "vxlan" ? MTU_VXLAN : MTU_PLAIN),
    burstable,
    projects,
    isDefault: create.default,
  });
}

type Addresses = Pick<Plan, "cidr" | "gateway" | "pool" | "addressing">;

function planAddresses(create: NetworkCreate): Result<Addresses, Refusal> {
  const { attachment, cidr } = create;
  const own = attachment === "nat" || attachment === "user" ? "dhcp" : cidr === undefined ? "none" : "static";
  const addressing = create.addressing ?? own;
  if (cidr === undefined) {
    if (addressing === "static" || attachment === "nat")
      return bad("cidr", `a ${attachment} network with ${addressing} addresses needs its subnet: add a cidr`);
    if (create.pool !== undefined) return bad("pool", "a pool lies in a subnet: add a cidr");
    if (create.gateway !== undefined && create.gateway !== "none")
      return bad("gateway", "a gateway lies in a subnet: add a cidr");
    return ok({ addressing });
  }
  if (attachment === "user")
    return bad("cidr", "user networking has addresses of its own for every guest: leave the cidr out");
  const subnet = subnetOf(cidr);
  if (subnet.prefix > 30 || subnet.prefix < 8) return bad("cidr", "a subnet has a prefix length of 8 to 30");
  const gateway = planGateway(create, subnet);
  if (!gateway.ok) return gateway;
  const pool = planPool(create, subnet, gateway.value);
  if (!pool.ok) return pool;
  return ok({
    cidr: `${addressText(subnet.network)}/${subnet.prefix}`,
    ...(gateway.value === undefined ? {} : { gateway: addressText(gateway.value) }),
    pool: { first: addressText(pool.value.first), last: addressText(pool.value.last) },
    addressing,
  });
}

function planGateway({ gateway }: NetworkCreate, subnet: Subnet): Result<number | undefined, Refusal> {
  if (gateway === "none") return ok(undefined);
  if (gateway === undefined) return ok(subnet.network + 1);
  const address = addressNumber(gateway);
  if (!within(usable(subnet), address)) return bad("gateway", `the gateway ${gateway} does not lie in the subnet`);
  return ok(address);
}

function planPool(
  { pool, cidr }: NetworkCreate,
  subnet: Subnet,
  gateway: number | undefined,
): Result<AddressRange, Refusal> {
  const all = usable(subnet);
  if (pool === undefined) {
    const first = all.first === gateway ? all.first + 1 : all.first;
    return ok({ first, last: Math.min(all.last, first + POOL_ADDRESSES_MAX - 1) });
  }
  const range = { first: addressNumber(pool.first), last: addressNumber(pool.last) };
  if (!within(all, range.first) || !within(all, range.last))
    return bad("pool", `the pool ${pool.first} to ${pool.last} does not lie in ${cidr}`);
  if (range.first > range.last) return bad("pool", "the pool ends before it begins: exchange first and last");
  if (range.last - range.first >= POOL_ADDRESSES_MAX)
    return bad("pool", `a pool has at most ${POOL_ADDRESSES_MAX} addresses`);
  if (range.first === range.last && range.first === gateway) return bad("pool", "the pool is the gateway alone");
  return ok(range);
}

function planVni(book: NetworkBook, create: NetworkCreate, vnis: VniRange): Result<number | undefined, Refusal> {
  const { attachment, vni } = create;
  if (attachment !== "vxlan")
    return vni === undefined ? ok(undefined) : bad("vni", `a ${attachment} network has no VXLAN identifier`);
  if (vni !== undefined) {
    if (!book.isVniTaken(vni)) return ok(vni);
    const message = `another network has the VXLAN identifier ${vni}: choose another one, or leave it out`;
    return err(refusal("conflict", "vni-taken", message, { field: "vni" }));
  }
  for (let free = vnis.first; free <= vnis.last; free += 1) if (!book.isVniTaken(free)) return ok(free);
  return err(refusal("resource-constraint", "no-vni-left", "all VXLAN identifiers of the site's range are in use"));
}

function vlanFault(book: NetworkBook, { attachment, vlan, name }: NetworkCreate): Refusal | undefined {
  if (attachment !== "vlan")
    return vlan === undefined ? undefined : invalid("vlan", `a ${attachment} network has no VLAN tag`);
  if (vlan === undefined)
    return invalid("vlan", "a vlan network needs its tag: one that the trunks of the hosts carry");
  if (!book.isVlanTaken(vlan) || book.records.get(name)?.vlan === vlan) return undefined;
  const message = `another network has the VLAN tag ${vlan}: choose another one`;
  return refusal("conflict", "vlan-taken", message, { field: "vlan" });
}

/**
 * Where hosts lead a network outside, their own table of routes has its subnet in it: no other such network may have a part
 * of it, nor one behind NAT.
 */
function outsideFault(book: NetworkBook, create: NetworkCreate, { cidr, gateway }: Addresses): Refusal | undefined {
  const { name, attachment, outside } = create;
  if (outside !== undefined && attachment !== "vxlan") return invalid("outside", OUTSIDE_BY[attachment]);
  if (outside !== undefined && (cidr === undefined || gateway === undefined))
    return invalid("outside", "a route outside needs a gateway: add a cidr, and leave gateway none out");
  if (cidr === undefined || !isRouted(create)) return undefined;
  for (const other of book.records.values()) {
    if (other.name === name || other.cidr === undefined || !isRouted(other)) continue;
    if (!overlaps(subnetOf(cidr), subnetOf(other.cidr))) continue;
    const message = `network ${other.name} leads outside too and has ${other.cidr}, which overlaps: choose another subnet`;
    return refusal("conflict", "subnet-taken", message, { field: "cidr" });
  }
  return undefined;
}

function isRouted({ attachment, outside }: Pick<Plan, "attachment" | "outside">): boolean {
  return attachment === "nat" || outside !== undefined;
}

const OUTSIDE_BY: Readonly<Record<Exclude<NetworkCreate["attachment"], "vxlan">, string>> = {
  bridge: "the router of a bridge network leads outside: give its address as gateway",
  vlan: "the router of a VLAN leads outside: give its address as gateway",
  nat: "a network behind NAT leads outside by itself: leave outside out",
  user: "user networking leads outside by itself: leave outside out",
};

function invalid(field: string, message: string): Refusal {
  return refusal("bad-request", "invalid-network", message, { field });
}

function bad(field: string, message: string): Result<never, Refusal> {
  return err(invalid(field, message));
}
