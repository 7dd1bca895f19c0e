import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestNic } from "@muster/protocol";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type NetworksConfigInput, networksConfigSchema } from "./config.ts";
import { hostNetworksContract } from "./host-networks.contract.ts";
import { openHostNetworks } from "./host-networks.ts";
import type { HostNetworks, NicWiring } from "./port.ts";
import type { RunProgram } from "./run-program.ts";
import { FilteringKernel } from "./testing/filtering-kernel.ts";
import { canMakeNetworks, Namespaces } from "./testing/namespaces.ts";
import { hasOpenVSwitch, OpenVSwitchBed } from "./testing/open-vswitch-bed.ts";

const TRUNK = "br-vlan";
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "muster-vlan-"));
  folders.push(folder);
  return folder;
}

function nicOf(number: number, more: Partial<GuestNic> = {}): GuestNic {
  return {
    network: "red",
    attachment: "vlan",
    mac: `52:54:00:42:00:0${number}`,
    mtu: 1_500,
    addressing: "static",
    address: `10.42.0.${number}/24`,
    vlan: 10,
    ...more,
  };
}

type Options = { readonly config: NetworksConfigInput; readonly run?: RunProgram; readonly folder?: string };
function opened({ config, run, folder = newFolder() }: Options): HostNetworks {
  const networks = openHostNetworks({
    config: networksConfigSchema.parse(config),
    stateFolder: folder,
    libvirtUri: "test:///default",
    ...(run === undefined ? {} : { run }),
  });
  if (!networks.ok) throw new Error(networks.error.reason);
  return networks.value;
}

async function lackOf(networks: HostNetworks): Promise<string> {
  const { lacks } = await networks.abilities();
  return lacks.find(({ ability }) => ability === "vlan")?.reason ?? "";
}

describe("VLANs by a Linux bridge whose kernel filters them", () => {
  const config = { vlan: { bridge: TRUNK } };

  hostNetworksContract(() => {
    const kernel = new FilteringKernel(TRUNK);
    const stateFolder = newFolder();
    return {
      open: () => ({ ok: true, value: opened({ config, run: kernel.run, folder: stateFolder }) }),
      traces: async () => kernel.traces(),
      nic: nicOf,
    };
  });

  it("give each tag a bridge with a cable to an untagged port of the trunk, and no other tag on it", async () => {
    const kernel = new FilteringKernel(TRUNK);
    const networks = opened({ config, run: kernel.run });
    expect(await networks.attach(randomUUID(), nicOf(1))).toEqual({
      ok: true,
      value: { kind: "bridge", bridge: "mv10" },
    });
    await networks.attach(randomUUID(), nicOf(2, { network: "first", vlan: 1 }));
    expect(kernel.traces()).toEqual([
      "mv1 in nothing []",
      "mv10 in nothing []",
      "mv10b in mv10 []",
      "mv10t in br-vlan [10*]",
      "mv1b in mv1 []",
      "mv1t in br-vlan [1*]",
    ]);
    const up = kernel.commands.indexOf("ip link set mv10t up");
    expect(up).toBeGreaterThan(kernel.commands.indexOf("bridge vlan del dev mv10t vid 1"));
  });

  it("finish a cable that a crash left without its tag", async () => {
    const kernel = new FilteringKernel(TRUNK);
    const folder = newFolder();
    const vm = randomUUID();
    const dies: RunProgram = async (program, args) => {
      if (program === "bridge") throw new Error("the host manager ended here");
      return kernel.run(program, args);
    };
    await expect(opened({ config, run: dies, folder }).attach(vm, nicOf(1))).resolves.toMatchObject({ ok: false });
    expect(await opened({ config, run: kernel.run, folder }).attach(vm, nicOf(1))).toMatchObject({ ok: true });
    expect(kernel.traces()).toContain("mv10t in br-vlan [10*]");
  });

  it("are not offered by a trunk that does not tell them apart, with the remedy", async () => {
    const kernel = new FilteringKernel(TRUNK, false);
    const networks = opened({ config, run: kernel.run });
    expect(await lackOf(networks)).toContain("ip link set br-vlan type bridge vlan_filtering 1");
    const refused = await networks.attach(randomUUID(), nicOf(1));
    expect(!refused.ok && refused.error.reason).toContain("does not tell VLANs apart");
    expect(kernel.traces()).toEqual([]);
  });
});

describe("VLANs of a host without a trunk", () => {
  it.each([
    ["is named", {}, /make a trunk bridge and name it in networks\.vlan of host\.yaml/],
    [
      "exists",
      { vlan: { bridge: "br-none" } },
      /br-none does not exist .*Open vSwitch does not answer.*ovs-vsctl add-br/,
    ],
  ])("are not offered where none %s", async (_what, config, reason) => {
    const kernel = new FilteringKernel(TRUNK);
    const networks = opened({ config, run: kernel.run });
    expect((await networks.abilities()).abilities).not.toContain("vlan");
    expect(await lackOf(networks)).toMatch(reason);
    const refused = await networks.attach(randomUUID(), nicOf(1));
    expect(!refused.ok && refused.error.reason).toMatch(reason);
  });

  it("are refused with an MTU that the trunk does not carry, and without a tag", async () => {
    const networks = opened({ config: { vlan: { bridge: TRUNK } }, run: new FilteringKernel(TRUNK).run });
    const large = await networks.attach(randomUUID(), nicOf(1, { mtu: 9_000 }));
    expect(!large.ok && large.error.reason).toContain("its MTU of 9000 does not fit: networks.vlan.mtu");
    const { vlan: _, ...untagged } = nicOf(1);
    const bare = await networks.attach(randomUUID(), untagged);
    expect(!bare.ok && bare.error.reason).toContain("has no VLAN tag");
  });
});

const GUEST = join(import.meta.dirname, "testing", "vlan-guest.fixture.ts");
const canRunGuests = ["libvirtd", "qemu-system-x86_64", "qemu-img"].every(
  (program) => spawnSync("sh", ["-c", `PATH=$PATH:/usr/sbin command -v ${program}`]).status === 0,
);

describe.runIf(canMakeNetworks() && hasOpenVSwitch())("VLANs by Open vSwitch", { timeout: 90_000 }, () => {
  const world = new Namespaces(`${process.pid}v`);
  const guests = new Map<string, string>();
  let namespace: string;
  let bed: OpenVSwitchBed;

  /** Plugs a guest in as libvirt does: a port of the switch under the tag. */
  const plug = (name: string, wiring: NicWiring, address: string): void => {
    if (wiring.kind !== "open-vswitch") throw new Error(`wired by ${wiring.kind}`);
    const guest = world.add(name);
    world.cable([namespace, `tap${name}`], [guest, "eth0", address]);
    bed.vsctl("add-port", wiring.bridge, `tap${name}`, `tag=${wiring.vlan}`);
    guests.set(name, guest);
  };
  const pings = (from: string, to: string): boolean =>
    world.run(guests.get(from) ?? "", "busybox", "ping", "-c", "1", "-W", "2", to);
  const config = (): NetworksConfigInput => ({ namespace, vlan: { bridge: TRUNK, database: bed.database } });

  beforeAll(() => {
    namespace = world.add("h");
    bed = new OpenVSwitchBed(namespace);
    bed.addBridge(TRUNK);
  });
  afterAll(async () => {
    await bed?.stop();
    world.clear();
  });

  hostNetworksContract(() => {
    const folder = newFolder();
    return {
      open: () => ({ ok: true, value: opened({ config: config(), folder }) }),
      traces: async () => world.links(namespace),
      nic: nicOf,
    };
  });

  it("reach each other under one tag, and nobody under another", async () => {
    const networks = opened({ config: config() });
    expect((await networks.abilities()).abilities).toContain("vlan");
    const wired = async (number: number, vlan: number): Promise<NicWiring> => {
      const wiring = await networks.attach(randomUUID(), nicOf(number, { vlan, network: `net${vlan}` }));
      if (!wiring.ok) throw new Error(wiring.error.reason);
      return wiring.value;
    };
    plug("a", await wired(1, 10), "10.42.0.1/24");
    plug("b", await wired(2, 10), "10.42.0.2/24");
    plug("c", await wired(3, 20), "10.42.0.3/24");
    plug("d", await wired(4, 20), "10.42.0.4/24");
    expect(pings("a", "10.42.0.2")).toBe(true);
    expect(pings("d", "10.42.0.3")).toBe(true);
    expect(pings("a", "10.42.0.3")).toBe(false);
    expect(pings("c", "10.42.0.2")).toBe(false);
  });

  it.runIf(canRunGuests)(
    "have libvirt plug a real guest in under its tag, with its MTU, and out again",
    () => {
      // libvirt looks for the switch at its usual place: in a mount namespace of its own, that is the test's.
      const script = 'mkdir -p /run/openvswitch; mount --bind "$1" /run/openvswitch; shift; exec "$@"';
      const folder = newFolder();
      chmodSync(folder, 0o711);
      const guest = [process.execPath, "--conditions=muster-source", GUEST, folder, namespace, TRUNK, "30"];
      const words = ["--mount", "--propagation", "private", "sh", "-c", script, "sh", bed.folder, ...guest];
      const before = bed.vsctl("list-ports", TRUNK);
      for (const port of before.split("\n").filter(Boolean)) bed.vsctl("del-port", TRUNK, port);
      const ran = spawnSync("unshare", words, { encoding: "utf8", timeout: 80_000 });
      expect(ran.stderr).toBe("");
      expect(JSON.parse(ran.stdout)).toEqual({ tag: "30", mtu: "1400", left: "" });
    },
    90_000,
  );

  it("are not offered once the switch is gone", async () => {
    const networks = opened({ config: { ...config(), vlan: { bridge: "br-gone", database: bed.database } } });
    expect(await lackOf(networks)).toMatch(/the trunk br-gone does not exist: make it with Open vSwitch/);
  });
});
