import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import type { GuestNic, TunnelOrder, TunnelState } from "@muster/protocol";
import { networksConfigSchema } from "../../network/config.ts";
import { openHostNetworks } from "../../network/host-networks.ts";
import { canMakeNetworks, ip, Namespaces } from "../../network/testing/namespaces.ts";
import { gatewayConfigSchema } from "../config.ts";
import { HostTunnels } from "../host-tunnels.ts";
import { namespacePrefix } from "../names.ts";
import { TunnelNotes } from "../notes.ts";

/** Whether this machine carries tunnels; without, tests of them cannot run. */
export function canCarryTunnels(): boolean {
  const runs = (program: string): boolean => spawnSync(program, ["--version"]).status === 0;
  return canMakeNetworks() && runs("wg") && runs("nft") && (runs("wireguard-go") || hasKernelWireGuard());
}

function hasKernelWireGuard(): boolean {
  const name = `mt53w${process.pid}`;
  spawnSync("ip", ["netns", "add", name]);
  const made = spawnSync("ip", ["-n", name, "link", "add", "w0", "type", "wireguard"]);
  spawnSync("ip", ["netns", "del", name]);
  return made.status === 0;
}

/** Where a gateway is reached in these tests. */
export const GATEWAY_ADDRESS = "127.43.0.1";
export const HOME_CIDR = "10.43.7.0/24";
export const MTU = 1_370;

/** One host with its tunnels; started again over the same folder, it is the same host after a restart. */
export class TestHost {
  readonly namespace: string;
  readonly folder: string;
  readonly #gateway: { readonly address?: string; readonly ports: string; readonly namespace?: string };
  readonly faults: string[] = [];
  tunnels: HostTunnels;

  constructor(
    namespace: string,
    folder: string,
    gateway: { readonly address?: string; readonly ports: string; readonly namespace?: string },
  ) {
    this.namespace = namespace;
    this.folder = folder;
    this.#gateway = gateway;
    this.tunnels = this.#open();
  }

  restart(): Promise<void> {
    this.tunnels.stop();
    this.tunnels = this.#open();
    return this.tunnels.start();
  }

  #open(): HostTunnels {
    const config = networksConfigSchema.parse({ namespace: this.namespace, bridges: { lan: "br-lan" } });
    const networks = openHostNetworks({ config, stateFolder: this.folder, libvirtUri: "test:///default" });
    const notes = TunnelNotes.open(join(this.folder, "tunnels.json"));
    if (!networks.ok || !notes.ok) throw new Error(JSON.stringify([networks, notes]));
    return new HostTunnels({
      config: gatewayConfigSchema.parse(this.#gateway),
      namespace: this.namespace,
      stateFolder: this.folder,
      notes: notes.value,
      networks: networks.value,
      clock: systemClock,
      onFault: (where, reason) => this.faults.push(`${where}: ${reason}`),
    });
  }

  /** What there is of tunnels: interfaces, namespaces, control sockets of wireguard-go, tables of nftables. */
  traces(): readonly string[] {
    const prefix = namespacePrefix(this.folder);
    const key = prefix.slice(3);
    const spaces = ip(["netns", "list"])
      .split("\n")
      .map((line) => line.split(" ")[0] ?? "")
      .filter((name) => name.startsWith(prefix));
    const links: { ifname: string }[] = JSON.parse(ip(["-n", this.namespace, "-json", "link", "show"]));
    const tables = spawnSync("ip", ["netns", "exec", this.namespace, "nft", "list", "tables"], { encoding: "utf8" });
    return [
      ...spaces,
      ...links.map(({ ifname }) => ifname).filter((name) => /^m[gtw][0-9a-f]{11}$/.test(name)),
      ...sockets().filter((name) => name.startsWith(`mw${key}`)),
      ...tables.stdout.split("\n").filter((line) => line.includes("muster_")),
    ];
  }
}

function sockets(): readonly string[] {
  try {
    return readdirSync("/var/run/wireguard");
  } catch {
    return [];
  }
}

/**
 * Home with a gateway host and a guest on its network, and a lender's host with the guest that is to be on that network too.
 * Guests are namespaces at the end of a cable. The lender's host is not reached by anybody: it has no address.
 */
export class TwoSites {
  readonly #world: Namespaces;
  readonly #folder = mkdtempSync(join(tmpdir(), "muster-tunnel-"));
  readonly gateway: TestHost;
  readonly lender: TestHost;
  readonly neighbour: string;

  /** `nat`: each host has a network of its own to the outside, the lender's behind a router with NAT. */
  constructor(name: string, ports: readonly [string, string], nat = false) {
    this.#world = new Namespaces(`${process.pid}${name}`);
    const wan = nat ? natBetween(this.#world) : undefined;
    const [home, away] = [this.#world.add("h"), this.#world.add("l")];
    ip(["-n", home, "link", "add", "br-lan", "type", "bridge", "forward_delay", "0"]);
    ip(["-n", home, "link", "set", "br-lan", "addrgenmode", "none"]);
    ip(["-n", home, "link", "set", "br-lan", "up"]);
    const way = (namespace: string | undefined) => (namespace === undefined ? {} : { namespace });
    const own = { address: wan?.address ?? GATEWAY_ADDRESS, ports: ports[0], ...way(wan?.gateway) };
    this.gateway = new TestHost(home, mkdtempSync(join(this.#folder, "h")), own);
    const other = { ports: ports[1], ...way(wan?.lender) };
    this.lender = new TestHost(away, mkdtempSync(join(this.#folder, "l")), other);
    this.neighbour = this.guest(home, "br-lan", "n", { address: "10.43.7.2/24", mac: "52:54:00:43:00:02" }, 1_500);
  }

  async start(): Promise<void> {
    await Promise.all([this.gateway.tunnels.start(), this.lender.tunnels.start()]);
  }

  /** A guest at the end of a cable from a bridge of a host. */
  guest(
    host: string,
    bridge: string,
    name: string,
    { address, mac }: { readonly address: string; readonly mac: string },
    mtu = MTU,
  ): string {
    const guest = this.#world.add(name);
    this.#world.cable([host, `tap${name}`], [guest, "eth0", address], mtu);
    ip(["-n", guest, "link", "set", "eth0", "address", mac]);
    ip(["-n", host, "link", "set", `tap${name}`, "master", bridge]);
    return guest;
  }

  pings(from: string, to: string, ...more: readonly string[]): boolean {
    return this.#world.run(from, "busybox", "ping", "-c", "1", "-W", "1", ...more, to);
  }

  async clear(): Promise<void> {
    for (const host of [this.gateway, this.lender]) {
      for (const id of host.tunnels.uses()) await host.tunnels.carryOut(closeOrder(id));
      await host.tunnels.reconcile(new Set());
      host.tunnels.stop();
    }
    this.#world.clear();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A router between the two hosts' ways to the outside: the lender's goes out under the router's address, and nobody comes in. */
function natBetween(world: Namespaces) {
  const [gateway, router, lender] = [world.add("gw"), world.add("rt"), world.add("lw")];
  world.cable([gateway, "wan0", "198.51.100.1/24"], [router, "wan0", "198.51.100.2/24"]);
  world.cable([lender, "lan0", "192.168.43.2/24"], [router, "lan0", "192.168.43.1/24"]);
  ip(["-n", lender, "route", "add", "default", "via", "192.168.43.1"]);
  const masquerade = ["-t", "nat", "-A", "POSTROUTING", "-o", "wan0", "-j", "MASQUERADE"];
  const made =
    world.run(router, "sysctl", "-qw", "net.ipv4.ip_forward=1") && world.run(router, "iptables", ...masquerade);
  if (!made) throw new Error("no router with NAT");
  return { address: "198.51.100.1", gateway, lender };
}

/** The interface of the n-th VM that is away. */
export function awayNic(last: number): GuestNic {
  return {
    network: "lan",
    attachment: "bridge",
    mac: `52:54:00:43:00:${String(last).padStart(2, "0")}`,
    mtu: MTU,
    addressing: "static",
    address: `10.43.7.${last}/24`,
  };
}

export function openOrder(order: Partial<TunnelOrder> = {}): TunnelOrder {
  return {
    id: randomUUID(),
    term: 1,
    action: "open",
    end: "gateway",
    attempt: 1,
    vm: randomUUID(),
    vni: 43,
    nic: awayNic(9),
    keepMs: 60_000,
    ...order,
  };
}

export function closeOrder(id: string, attempt = 1): TunnelOrder {
  return { id, term: 1, action: "close", end: "gateway", attempt, vm: randomUUID() };
}

/** The order's answer; throws with the refusal. */
export async function obeyed(host: TestHost, order: TunnelOrder): Promise<TunnelState> {
  const state = await host.tunnels.carryOut(order);
  if (!state.ok) throw new Error(JSON.stringify(state.error));
  return state.value;
}

/** A tunnel with both its ends, and the guest that is away behind it. */
export async function joined(sites: TwoSites, last: number, name: string) {
  const order = openOrder({ nic: awayNic(last), vni: last });
  const near = await obeyed(sites.gateway, order);
  if (near.own === undefined) throw new Error("no key");
  const tunnel = { id: order.id, vni: last, peer: near.own };
  const far = await sites.lender.tunnels.attach(order.vm, { ...awayNic(last), network: "away", tunnel });
  if (!far.ok) throw new Error(far.error);
  await obeyed(sites.gateway, { ...order, peer: far.value.own });
  const nic = { address: `10.43.7.${last}/24`, mac: awayNic(last).mac };
  const guest = sites.guest(sites.lender.namespace, far.value.bridge, name, nic);
  return { order, tunnel, far: far.value, guest };
}
