import { lookup } from "node:dns/promises";
import { hostname } from "node:os";
import { type NetworkAbility, probeNetworkAbilities, probeQemuRights } from "@muster/federation/guests";
import { type Check, well, worry } from "./check.ts";

/** What this machine can do for real guests: hypervisor, rights, networks. It also does without: nothing here is a failure. */
export async function guestChecks(): Promise<readonly Check[]> {
  const rights = await probeQemuRights();
  const guests =
    rights.kind === "namespaces"
      ? well("guests", "QEMU, with namespaces, bridges and taps")
      : rights.kind === "session"
        ? well("guests", `QEMU with user networking: ${rights.reason}`)
        : worry("guests", `no real guests: ${rights.reason}`, "npm run setup as root; all else works without");
  const abilities = await probeNetworkAbilities();
  return [guests, ...networkChecks(abilities), await nameCheck()];
}

/** libvirt looks its machine's name up in the middle of a live move; where nobody answers, the guest stands still meanwhile. */
async function nameCheck(): Promise<Check> {
  const name = hostname();
  const startMs = performance.now();
  const found = await lookup(name).then(
    () => true,
    () => false,
  );
  return readNameLookup(name, found, performance.now() - startMs);
}

/** How long a lookup may take that a guest waits for. */
const LOOKUP_MS_MAX = 500;

/** Pure part of the check of the machine's name. A quick no does no harm. */
export function readNameLookup(name: string, found: boolean, tookMs: number): Check {
  const message = `${name} is ${found ? "" : "not "}found, after ${Math.round(tookMs)} ms`;
  if (tookMs <= LOOKUP_MS_MAX) return well("name", message);
  return worry("name", message, `put ${name} into /etc/hosts on every host: live moves wait while it is looked up`);
}

function networkChecks(abilities: readonly NetworkAbility[] | string): readonly Check[] {
  if (typeof abilities === "string")
    return [
      worry("networks", `cannot be tried out: ${abilities}`, "run the doctor as root to know what the kernel can"),
    ];
  return [readAbilities(abilities), readVlans(abilities), readFilter(abilities), readTunnels(abilities)];
}

/** Pure part of the check of VLANs: one of two ways to them is enough, and a machine may do without. */
export function readVlans(abilities: readonly NetworkAbility[]): Check {
  const ways = abilities.filter(({ name, present }) => present && VLAN_WAYS.includes(name)).map(({ name }) => name);
  if (ways.length > 0) return well("vlans", `by ${ways.join(" or ")}`);
  const remedy = "for VLANs: apt-get install openvswitch-switch, or a kernel whose bridges filter them";
  return well("vlans", `none on this host, networks by VXLAN need none; ${remedy}`);
}

const VLAN_WAYS: readonly NetworkAbility["name"][] = ["vlan filtering", "open vswitch"];

/** Pure part of the check of the packet filter, by which guests are led outside and reached from there. */
export function readFilter(abilities: readonly NetworkAbility[]): Check {
  if (abilities.some(({ name, present }) => name === "iptables" && present))
    return well("outside", "hosts can lead networks outside, and ports of theirs to guests");
  return worry("outside", "no packet filter: no network leads outside", "apt-get install iptables");
}

/** Pure part of the check of tunnels to other sites, which only gateways need. */
export function readTunnels(abilities: readonly NetworkAbility[]): Check {
  if (abilities.some(({ name, present }) => name === "wireguard" && present))
    return well("tunnels", "this machine can carry tunnels to other sites: gateway in host.yaml has it do so");
  return well(
    "tunnels",
    "no tunnels to other sites from here; for them: apt-get install wireguard-tools, and wireguard-go where the kernel has none",
  );
}

/** Pure part of the check of networks. */
export function readAbilities(abilities: readonly NetworkAbility[]): Check {
  const named = (present: boolean): readonly NetworkAbility[] =>
    abilities.filter((ability) => ability.present === present);
  const found = named(true).map(({ name }) => name);
  const absent = named(false).map(({ name }) => name);
  const message = `${found.join(", ") || "nothing"}${absent.length === 0 ? "" : `; not ${absent.join(", ")}`}`;
  const needed = named(false).filter(({ name }) => NEEDED.includes(name));
  if (needed.length === 0) return well("networks", message);
  const lost = needed.map(({ name, use }) => `${name} for ${use}`).join(", ");
  return worry("networks", message, `use a kernel with ${lost}`);
}

/** VLANs are one way to tenants' networks, VXLAN is another: a machine needs one of them. */
const NEEDED: readonly NetworkAbility["name"][] = ["bridge", "vxlan", "tap"];
