import { createHash } from "node:crypto";
import { err, ok, type Result } from "@muster/base";
import type { GuestNic } from "@muster/protocol";
import { Element } from "ltx";
import type { NetworkDriver } from "./driver.ts";
import { runProgram } from "./run-program.ts";
import type { NicUse } from "./uses-file.ts";

/** Long enough for a guest, short enough that a given-up address is soon free in the DHCP server's own notes. */
const LEASE_MINUTES = 10;
const NAME_PREFIX = "muster-nat-";

type NatNic = GuestNic & { readonly address: string; readonly gateway: string };

/**
 * A libvirt network behind the host's address (https://libvirt.org/formatnetwork.html): dnsmasq hands each guest the address
 * that was reserved for its MAC before it boots, and nobody else any. The network lives as long as somebody uses it; it is
 * transient, so that nothing of it outlives a boot of the machine.
 */
export function natDriver(libvirtUri: string): NetworkDriver {
  const virsh = (...args: readonly string[]): Promise<Result<string, string>> =>
    runProgram("virsh", ["--connect", libvirtUri, "--quiet", ...args]);
  return {
    async lack() {
      return /\/session(\?|$)/.test(libvirtUri)
        ? "networks behind NAT need qemu:///system: run the host manager as root"
        : undefined;
    },
    async make({ nic }) {
      const complete = completeNic(nic);
      if (!complete.ok) return err({ reason: complete.error });
      const name = networkName(nic.network);
      const active = await activeNetworks(virsh);
      if (!active.ok) return err({ reason: active.error });
      if (!active.value.includes(name)) {
        const created = await createNetwork(libvirtUri, networkXml(name, complete.value));
        if (!created.ok) return err({ reason: `network ${nic.network}: ${created.error}` });
      }
      const reserved = await reserve(virsh, name, complete.value);
      return reserved.ok ? ok({ kind: "network", network: name }) : err({ reason: reserved.error });
    },
    async unmake({ nic }, last) {
      const name = networkName(nic.network);
      const active = await activeNetworks(virsh);
      if (!active.ok) throw new Error(active.error);
      if (!active.value.includes(name)) return;
      const gone = last ? await virsh("net-destroy", name) : await unreserve(virsh, name, nic);
      if (!gone.ok) throw new Error(gone.error);
    },
    async sweep(uses: readonly NicUse[]) {
      // Where nothing was ever noted there may be no libvirt to ask either, and nothing of ours in it.
      if (uses.length === 0) return;
      const active = await activeNetworks(virsh);
      if (!active.ok) throw new Error(active.error);
      const used = new Set(uses.map(({ nic }) => networkName(nic.network)));
      for (const name of active.value.filter((other) => other.startsWith(NAME_PREFIX) && !used.has(other))) {
        const gone = await virsh("net-destroy", name);
        if (!gone.ok) throw new Error(gone.error);
      }
    },
  };
}

type Virsh = (...args: readonly string[]) => Promise<Result<string, string>>;

export function networkName(network: string): string {
  return `${NAME_PREFIX}${network}`;
}

/** Interface names are short; the digest tells networks with alike names apart. */
export function natBridgeName(network: string): string {
  return `mn${createHash("sha256").update(networkName(network)).digest("hex").slice(0, 10)}`;
}

async function activeNetworks(virsh: Virsh): Promise<Result<readonly string[], string>> {
  const listed = await virsh("net-list", "--name");
  return listed.ok ? ok(listed.value.split("\n").filter((name) => name !== "")) : listed;
}

/** virsh reads descriptions from files only; a pipe of the shell is one. */
function createNetwork(uri: string, xml: string): Promise<Result<string, string>> {
  const script = 'printf %s "$2" | virsh --connect "$1" --quiet net-create /dev/stdin';
  return runProgram("/bin/sh", ["-c", script, "net-create", uri, xml]);
}

async function reserve(virsh: Virsh, name: string, nic: NatNic): Promise<Result<void, string>> {
  const present = await virsh("net-dumpxml", name);
  if (!present.ok) return present;
  if (present.value.includes(`mac='${nic.mac}' ip='${addressOf(nic)}'`)) return ok(undefined);
  const added = await virsh("net-update", name, "add", "ip-dhcp-host", hostElement(nic).toString(), "--live");
  return added.ok ? ok(undefined) : added;
}

async function unreserve(virsh: Virsh, name: string, nic: GuestNic): Promise<Result<void, string>> {
  const present = await virsh("net-dumpxml", name);
  if (!present.ok) return present;
  if (!present.value.includes(`mac='${nic.mac}'`)) return ok(undefined);
  const mac = new Element("host", { mac: nic.mac }).toString();
  const removed = await virsh("net-update", name, "delete", "ip-dhcp-host", mac, "--live");
  return removed.ok ? ok(undefined) : removed;
}

function completeNic(nic: GuestNic): Result<NatNic, string> {
  const { address, gateway, network } = nic;
  if (address === undefined || gateway === undefined || address.includes(":"))
    return err(`network ${network} is behind NAT: its guests need a reserved IPv4 address and a gateway`);
  return ok({ ...nic, address, gateway });
}

/** Exported for its test. */
export function networkXml(name: string, nic: NatNic): string {
  const network = new Element("network");
  network.c("name").t(name);
  const forward = network.c("forward", { mode: "nat" });
  forward.c("nat").c("port", { start: "1024", end: "65535" });
  network.c("bridge", { name: natBridgeName(nic.network), stp: "off", delay: "0" });
  network.c("mtu", { size: String(nic.mtu) });
  // Guests ask the network's own DNS server, which asks these.
  if (nic.nameservers !== undefined) {
    const dns = network.c("dns");
    for (const address of nic.nameservers) dns.c("forwarder", { addr: address });
  }
  const range = network.c("ip", { address: nic.gateway, prefix: nic.address.split("/")[1] ?? "24" });
  range.c("dhcp").cnode(hostElement(nic));
  return network.toString();
}

function hostElement(nic: NatNic): Element {
  const host = new Element("host", { mac: nic.mac, ip: addressOf(nic) });
  host.c("lease", { expiry: String(LEASE_MINUTES), unit: "minutes" });
  return host;
}

function addressOf({ address }: NatNic): string {
  return address.split("/")[0] ?? address;
}
