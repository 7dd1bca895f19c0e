import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestNic } from "@muster/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NetworksConfigInput, networksConfigSchema } from "./config.ts";
import { openHostNetworks } from "./host-networks.ts";
import type { HostNetworks } from "./port.ts";
import { canMakeNetworks, ip, Namespaces } from "./testing/namespaces.ts";

const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`;
const canRun =
  canMakeNetworks() &&
  ["iptables", "busybox"].every(
    (name) => spawnSync("sh", ["-c", `command -v ${name}`], { env: { PATH } }).status === 0,
  );

const WORLD = "198.51.100.1";
const HOSTS = { a: "198.51.100.11", b: "198.51.100.12" } as const;
const NETWORKS = { blue: { vni: 5_421, third: 7 }, green: { vni: 5_422, third: 8 } } as const;
const MTU = 1_400;
const GREETING = "SSH-2.0-guest";

/** Two hosts between their tunnels and the world; guests are namespaces at the end of a cable. */
describe.runIf(canRun)("networks that hosts lead outside", { timeout: 90_000 }, () => {
  const world = new Namespaces(`${process.pid}o`);
  const folder = mkdtempSync(join(tmpdir(), "muster-outside-"));
  const hosts = new Map<string, { readonly namespace: string; readonly stateFolder: string }>();
  const guests = new Map<string, { readonly vm: string; readonly namespace: string; readonly nic: GuestNic }>();
  const servers: ReturnType<typeof spawn>[] = [];
  let outside: string;

  const configOf = (name: "a" | "b", namespace: string): NetworksConfigInput => ({
    namespace,
    underlay: { address: name === "a" ? "10.99.0.1" : "10.99.0.2", peers: ["10.99.0.1", "10.99.0.2"] },
    access: { address: HOSTS[name], ports: "20000-20001" },
  });
  const open = (name: "a" | "b", more: NetworksConfigInput = {}): HostNetworks => {
    const { namespace, stateFolder } = hosts.get(name) ?? { namespace: "", stateFolder: "" };
    const config = networksConfigSchema.parse({ ...configOf(name, namespace), ...more });
    const networks = openHostNetworks({ config, stateFolder, libvirtUri: "test:///default" });
    if (!networks.ok) throw new Error(networks.error.reason);
    return networks.value;
  };
  const nicOf = (network: keyof typeof NETWORKS, number: number): GuestNic => {
    const { vni, third } = NETWORKS[network];
    return {
      network,
      attachment: "vxlan",
      mac: `52:54:00:42:0${third}:${number}`,
      mtu: MTU,
      addressing: "static",
      address: `10.42.${third}.${number}/24`,
      gateway: `10.42.${third}.1`,
      vni,
      outside: "nat",
    };
  };
  const plug = async (host: "a" | "b", network: keyof typeof NETWORKS, number: number): Promise<void> => {
    const vm = randomUUID();
    const nic = nicOf(network, number);
    const wiring = await open(host).attach(vm, nic);
    if (!wiring.ok || wiring.value.kind !== "bridge") throw new Error(JSON.stringify(wiring));
    const name = `${host}${network}`;
    const namespace = world.add(name);
    const { namespace: at } = hosts.get(host) ?? { namespace: "" };
    world.cable([at, `tap${network}`], [namespace, "eth0", nic.address ?? ""], MTU);
    ip(["-n", at, "link", "set", `tap${network}`, "master", wiring.value.bridge]);
    ip(["-n", namespace, "link", "set", "eth0", "address", nic.mac]);
    ip(["-n", namespace, "route", "add", "default", "via", nic.gateway ?? ""]);
    guests.set(name, { vm, namespace, nic });
    const shell = ["busybox", "nc", "-ll", "-p", "22", "-e", "/bin/echo", GREETING];
    servers.push(spawn("ip", ["netns", "exec", namespace, ...shell], { stdio: "ignore" }));
  };

  beforeAll(async () => {
    outside = world.add("w");
    ip(["-n", outside, "link", "add", "br0", "type", "bridge"]);
    ip(["-n", outside, "addr", "add", `${WORLD}/24`, "dev", "br0"]);
    ip(["-n", outside, "link", "set", "br0", "up"]);
    for (const name of ["a", "b"] as const) {
      const namespace = world.add(name);
      hosts.set(name, { namespace, stateFolder: mkdtempSync(join(folder, name)) });
      world.cable([outside, `to${name}`], [namespace, "up0", `${HOSTS[name]}/24`]);
      ip(["-n", namespace, "route", "add", "default", "via", WORLD]);
      ip(["-n", outside, "link", "set", `to${name}`, "master", "br0"]);
    }
    const [a = "", b = ""] = [...hosts.values()].map(({ namespace }) => namespace);
    world.cable([a, "under0", "10.99.0.1/24"], [b, "under0", "10.99.0.2/24"]);
    await plug("a", "blue", 11);
    await plug("b", "blue", 12);
    await plug("a", "green", 13);
  }, 90_000);
  afterAll(() => {
    for (const server of servers) server.kill("SIGKILL");
    for (const { namespace } of guests.values())
      for (const pid of ip(["netns", "pids", namespace]).split("\n").filter(Boolean)) process.kill(Number(pid));
    world.clear();
    rmSync(folder, { recursive: true, force: true });
  });

  const namespaceOf = (guest: string): string => guests.get(guest)?.namespace ?? guest;
  const pings = (from: string, to: string): boolean =>
    world.run(namespaceOf(from), "busybox", "ping", "-c", "1", "-W", "1", to);
  /** What a TCP server says there, if it is reached. */
  const greets = (from: string, host: string, port: number): string => {
    const words = ["netns", "exec", namespaceOf(from), "busybox", "nc", "-w", "2", host, String(port)];
    return spawnSync("ip", words, { encoding: "utf8", input: "", timeout: 5_000 }).stdout.trim();
  };
  const rules = (namespace: string): readonly string[] =>
    ["iptables -S", "iptables -t nat -S", "ip6tables -S"].flatMap((words) =>
      spawnSync("ip", ["netns", "exec", namespace, ...words.split(" ")], { encoding: "utf8", env: { PATH } })
        .stdout.split("\n")
        .filter((line) => line.includes("MUSTER")),
    );

  it("let guests reach beyond them, each by the host it is on, and each other as before", () => {
    expect(pings("ablue", WORLD)).toBe(true);
    expect(pings("bblue", WORLD)).toBe(true);
    expect(pings("ablue", "10.42.7.12")).toBe(true);
    expect(pings("ablue", "10.42.7.1")).toBe(true);
    const told = spawnSync("ip", ["-n", outside, "neigh", "show"], { encoding: "utf8" }).stdout;
    expect(told).not.toContain("10.42.");
  });

  it("keep tenants apart, and guests from their hosts", () => {
    expect(pings("ablue", "10.42.8.13")).toBe(false);
    expect(pings("agreen", "10.42.7.11")).toBe(false);
    for (const address of [HOSTS.a, "10.99.0.1", "10.99.0.2"]) expect(pings("ablue", address), address).toBe(false);
  });

  it("let no guest send what hosts would take for a tunnel of one of them", () => {
    for (const port of ["4788", "4789"])
      world.run(outside, "iptables", "-A", "INPUT", "-p", "udp", "--dport", port, "-j", "ACCEPT");
    const arrived = (port: number): number => {
      world.run(namespaceOf("ablue"), "bash", "-c", `echo hello > /dev/udp/${WORLD}/${port}`);
      const words = ["netns", "exec", outside, "iptables", "-vnxL", "INPUT"];
      const shown = spawnSync("ip", words, { encoding: "utf8", env: { PATH } }).stdout.split("\n");
      return Number(
        shown
          .find((line) => line.includes(`dpt:${port}`))
          ?.trim()
          .split(/\s+/)[0],
      );
    };
    expect(arrived(4_788)).toBe(1);
    expect(arrived(4_789)).toBe(0);
  });

  it("are reached by ssh at a port of the host, also after a restart of the host manager, and by nothing else", () => {
    const vm = guests.get("ablue")?.vm ?? "";
    const access = open("a").accessOf(vm);
    expect(access).toEqual({ host: HOSTS.a, port: 20_000 });
    expect(greets(outside, HOSTS.a, 20_000)).toBe(GREETING);
    expect(greets(outside, HOSTS.a, 20_001)).toBe(GREETING);
    ip(["-n", outside, "route", "add", "10.42.7.0/24", "via", HOSTS.a]);
    expect(greets(outside, "10.42.7.11", 22)).toBe("");
    expect(pings(outside, "10.42.7.11")).toBe(false);
    ip(["-n", outside, "route", "del", "10.42.7.0/24"]);
    // The port is the guest's also where it asks for it itself.
    expect(greets("bblue", HOSTS.a, 20_000)).toBe(GREETING);
  });

  it("S2: have so many ports and no more: the next VM is refused, and leaves nothing", async () => {
    const before = rules(hosts.get("a")?.namespace ?? "");
    const refused = await open("a").attach(randomUUID(), nicOf("blue", 14));
    expect(!refused.ok && refused.error.reason).toBe(
      `no port from 20000 to 20001 is free on ${HOSTS.a}: widen networks.access.ports of host.yaml`,
    );
    expect(rules(hosts.get("a")?.namespace ?? "")).toEqual(before);
  });

  it("are refused where the host has such a subnet already", async () => {
    const nic = {
      ...nicOf("green", 15),
      network: "clash",
      vni: 5_499,
      address: "198.51.100.77/24",
      gateway: "198.51.100.254",
    };
    const refused = await open("b").attach(randomUUID(), nic);
    expect(!refused.ok && refused.error.reason).toMatch(
      /no route outside .* up0 of this host has 198\.51\.100\.12\/24/,
    );
    expect(world.links(hosts.get("b")?.namespace ?? "")).not.toContain("mb5499");
  });

  it("keep their place in the filter when others come before it, and put nothing there twice", async () => {
    const { namespace } = hosts.get("a") ?? { namespace: "" };
    const before = rules(namespace);
    world.run(namespace, "iptables", "-I", "FORWARD", "1", "-o", "mb+", "-j", "REJECT");
    expect(greets(outside, HOSTS.a, 20_000)).toBe("");
    const vms = new Set([...guests.values()].map(({ vm }) => vm));
    await open("a").reconcile(vms);
    expect(greets(outside, HOSTS.a, 20_000)).toBe(GREETING);
    expect(rules(namespace)).toEqual(before);
  });

  it("have no way in while the admin gives no port, and get one once there is", async () => {
    const vm = guests.get("bblue")?.vm ?? "";
    const port = open("b").accessOf(vm)?.port;
    await open("b").release(vm);
    const nic = guests.get("bblue")?.nic ?? nicOf("blue", 12);
    await open("b", { access: undefined }).attach(vm, nic);
    expect(open("b").accessOf(vm)).toBeUndefined();
    const given = open("b");
    await given.reconcile(new Set([vm]));
    expect(given.accessOf(vm)).toEqual({ host: HOSTS.b, port });
  });

  it("are closed with their VM, and nothing of them is left with the last one", async () => {
    const { namespace } = hosts.get("a") ?? { namespace: "" };
    await open("a").release(guests.get("ablue")?.vm ?? "");
    expect(greets(outside, HOSTS.a, 20_000)).toBe("");
    expect(greets(outside, HOSTS.a, 20_001)).toBe(GREETING);
    await open("a").release(guests.get("agreen")?.vm ?? "");
    expect(rules(namespace)).toEqual([]);
    expect(world.links(namespace).filter((name) => name.startsWith("m"))).toEqual([]);
  });
});
