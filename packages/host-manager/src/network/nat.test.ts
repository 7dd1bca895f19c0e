import { execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestNic } from "@muster/protocol";
import { type PrivateDaemon, startQemuDaemon } from "node-libvirt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../testing/until.ts";
import { networksConfigSchema } from "./config.ts";
import { hostNetworksContract } from "./host-networks.contract.ts";
import { openHostNetworks } from "./host-networks.ts";
import { networkXml } from "./nat.ts";
import { canMakeNetworks, ip, Namespaces } from "./testing/namespaces.ts";

const NEEDED = ["libvirtd", "virsh", "dnsmasq", "iptables", "qemu-system-x86_64", "busybox"];
const canRun =
  canMakeNetworks() &&
  NEEDED.every((program) => spawnSync("sh", ["-c", `PATH=$PATH:/usr/sbin command -v ${program}`]).status === 0);

function nicOf(number: number): GuestNic {
  return {
    network: "inside",
    attachment: "nat",
    mac: `52:54:00:53:77:0${number}`,
    mtu: 1_400,
    addressing: "dhcp",
    address: `10.53.77.${10 + number}/24`,
    gateway: "10.53.77.1",
  };
}

describe("the description of a network behind NAT", () => {
  it("has the first guest's reservation, the MTU and a bridge with a name that is short enough", () => {
    const nic = { ...nicOf(1), address: "10.53.77.11/24", gateway: "10.53.77.1" };
    const xml = networkXml("muster-nat-a-network-with-a-rather-long-name", nic);
    expect(xml).toContain('<host mac="52:54:00:53:77:01" ip="10.53.77.11"><lease expiry="10" unit="minutes"/></host>');
    expect(xml).toContain('<mtu size="1400"/>');
    expect(/<bridge name="([^"]+)"/.exec(xml)?.[1]?.length).toBeLessThan(16);
    expect(xml).not.toContain("<range");
    expect(xml).not.toContain("<dns");
    const named = networkXml("muster-nat-x", { ...nic, nameservers: ["9.9.9.9", "192.0.2.53"] });
    expect(named).toContain('<dns><forwarder addr="9.9.9.9"/><forwarder addr="192.0.2.53"/></dns>');
  });
});

describe.runIf(canRun)("interfaces behind NAT, with a real libvirtd", () => {
  const world = new Namespaces(`${process.pid}t`);
  const folder = mkdtempSync(join(tmpdir(), "mn-"));
  let namespace: string;
  let daemon: PrivateDaemon;

  beforeAll(async () => {
    chmodSync(folder, 0o711);
    namespace = world.add("h");
    const stateDir = join(folder, "v");
    daemon = await startQemuDaemon({ stateDir, mode: "system", host: { namespace, name: "nat-host" } });
  }, 90_000);
  afterAll(async () => {
    await daemon?.stop();
    // libvirtd leaves its networks running when it stops; their DHCP servers are in the namespace.
    for (const pid of ip(["netns", "pids", namespace]).split("\n").filter(Boolean)) process.kill(Number(pid));
    world.clear();
    rmSync(folder, { recursive: true, force: true });
  });

  const uri = (): string => `qemu+unix:///system?socket=${daemon.socketPath}`;
  const virsh = (...args: readonly string[]): string =>
    execFileSync("virsh", ["--connect", uri(), "--quiet", ...args], { encoding: "utf8" });
  const open = (stateFolder: string) =>
    openHostNetworks({ config: networksConfigSchema.parse({ namespace }), stateFolder, libvirtUri: uri() });

  hostNetworksContract(() => {
    const stateFolder = mkdtempSync(join(folder, "s"));
    return {
      open: () => open(stateFolder),
      traces: async () => [...world.links(namespace), ...virsh("net-list", "--all", "--name").trim().split("\n")],
      nic: nicOf,
    };
  });

  it("are reached by ssh at a port of the host, through libvirt's own filter, and by nothing else", async () => {
    const stateFolder = mkdtempSync(join(folder, "s"));
    const config = networksConfigSchema.parse({
      namespace,
      access: { address: "198.51.100.11", ports: "20000-20009" },
    });
    const openWithAccess = () => {
      const networks = openHostNetworks({ config, stateFolder, libvirtUri: uri() });
      if (!networks.ok) throw new Error(networks.error.reason);
      return networks.value;
    };
    const vm = "0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a78";
    expect(await openWithAccess().attach(vm, nicOf(3))).toMatchObject({ ok: true });
    const [guest, client] = [world.add("ag"), world.add("ac")];
    world.cable([namespace, "up0", "198.51.100.11/24"], [client, "eth0", "198.51.100.1/24"]);
    world.cable([namespace, "tap1"], [guest, "eth0", nicOf(3).address ?? ""], 1_400);
    const bridge = world.links(namespace).find((name) => name.startsWith("mn")) ?? "";
    ip(["-n", namespace, "link", "set", "tap1", "master", bridge]);
    ip(["-n", guest, "route", "add", "default", "via", "10.53.77.1"]);
    ip(["-n", client, "route", "add", "10.53.77.0/24", "via", "198.51.100.11"]);
    const words = ["netns", "exec", guest, "busybox", "nc", "-ll", "-p", "22", "-e", "/bin/echo", "SSH-2.0-guest"];
    const server = spawn("ip", words, { stdio: "ignore" });
    const greets = (host: string, port: number): string => {
      const ask = ["netns", "exec", client, "busybox", "nc", "-w", "2", host, String(port)];
      return spawnSync("ip", ask, { encoding: "utf8", input: "", timeout: 5_000 }).stdout.trim();
    };
    try {
      await until("the guest's server", () => greets("198.51.100.11", 20_000) === "SSH-2.0-guest");
      expect(openWithAccess().accessOf(vm)).toEqual({ host: "198.51.100.11", port: 20_000 });
      expect(greets("10.53.77.13", 22)).toBe("");
      await openWithAccess().release(vm);
      expect(greets("198.51.100.11", 20_000)).toBe("");
    } finally {
      for (const pid of ip(["netns", "pids", guest]).split("\n").filter(Boolean)) process.kill(Number(pid));
      server.kill();
      ip(["-n", namespace, "link", "del", "up0"]);
      ip(["-n", namespace, "link", "del", "tap1"]);
    }
  }, 60_000);

  it("get the address that was reserved for their MAC before they boot, and a stranger gets none", async () => {
    const networks = open(mkdtempSync(join(folder, "s")));
    if (!networks.ok) throw new Error(networks.error.reason);
    const vm = "0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a77";
    expect(await networks.value.attach(vm, nicOf(1))).toMatchObject({ ok: true });
    expect(await networks.value.attach(vm, nicOf(2))).toMatchObject({ ok: true });
    const bridge = world.links(namespace).find((name) => name.startsWith("mn")) ?? "";
    const guest = world.add("g");
    const script = join(folder, "lease");
    writeFileSync(script, '#!/bin/sh\n[ "$1" = bound ] && echo "got $ip mtu $mtu dns $dns"\nexit 0\n', { mode: 0o755 });
    const askWith = (mac: string): string => {
      world.cable([namespace, "tap0"], [guest, "eth0"], 1_400);
      ip(["-n", namespace, "link", "set", "tap0", "master", bridge]);
      ip(["-n", guest, "link", "set", "eth0", "address", mac]);
      const words = [
        "busybox",
        "udhcpc",
        "-i",
        "eth0",
        "-n",
        "-q",
        "-f",
        "-t",
        "4",
        "-T",
        "1",
        "-O",
        "mtu",
        "-s",
        script,
      ];
      const asked = spawnSync("ip", ["netns", "exec", guest, ...words], { encoding: "utf8", timeout: 20_000 });
      ip(["-n", namespace, "link", "del", "tap0"]);
      return asked.stdout;
    };
    expect(askWith(nicOf(2).mac)).toMatch(/^got 10\.53\.77\.12 mtu 1400 dns 10\.53\.77\.1$/m);
    expect(askWith("52:54:00:53:77:99")).not.toContain("got");
    await networks.value.release(vm);
    expect(world.links(namespace)).toEqual([]);
  }, 60_000);
});
