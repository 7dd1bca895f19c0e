import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestNic } from "@muster/protocol";
import { type QemuDaemon, startQemuDaemon } from "node-libvirt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
  });
});

describe.runIf(canRun)("interfaces behind NAT, with a real libvirtd", () => {
  const world = new Namespaces(`${process.pid}t`);
  const folder = mkdtempSync(join(tmpdir(), "mn-"));
  let namespace: string;
  let daemon: QemuDaemon;

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

  it("get the address that was reserved for their MAC before they boot, and a stranger gets none", async () => {
    const networks = open(mkdtempSync(join(folder, "s")));
    if (!networks.ok) throw new Error(networks.error.reason);
    const vm = "0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a77";
    expect(await networks.value.attach(vm, nicOf(1))).toMatchObject({ ok: true });
    expect(await networks.value.attach(vm, nicOf(2))).toMatchObject({ ok: true });
    const bridge = world.links(namespace).find((name) => name.startsWith("mn")) ?? "";
    const guest = world.add("g");
    const script = join(folder, "lease");
    writeFileSync(script, '#!/bin/sh\n[ "$1" = bound ] && echo "got $ip"\nexit 0\n', { mode: 0o755 });
    const askWith = (mac: string): string => {
      world.cable([namespace, "tap0"], [guest, "eth0"], 1_400);
      ip(["-n", namespace, "link", "set", "tap0", "master", bridge]);
      ip(["-n", guest, "link", "set", "eth0", "address", mac]);
      const words = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "4", "-T", "1", "-s", script];
      const asked = spawnSync("ip", ["netns", "exec", guest, ...words], { encoding: "utf8", timeout: 20_000 });
      ip(["-n", namespace, "link", "del", "tap0"]);
      return asked.stdout;
    };
    expect(askWith(nicOf(2).mac)).toMatch(/^got 10\.53\.77\.12$/m);
    expect(askWith("52:54:00:53:77:99")).not.toContain("got");
    await networks.value.release(vm);
    expect(world.links(namespace)).toEqual([]);
  }, 60_000);
});
