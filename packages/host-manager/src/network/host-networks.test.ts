import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestNic } from "@muster/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { type NetworksConfigInput, networksConfigSchema } from "./config.ts";
import { hostNetworksContract, type NetworkBed } from "./host-networks.contract.ts";
import { openHostNetworks } from "./host-networks.ts";
import type { HostNetworks } from "./port.ts";
import { canMakeNetworks, ip, Namespaces } from "./testing/namespaces.ts";

const hasRights = canMakeNetworks();
const folders: string[] = [];
const worlds: Namespaces[] = [];
let beds = 0;
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  for (const world of worlds.splice(0)) world.clear();
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "muster-networks-"));
  folders.push(folder);
  return folder;
}

function newWorld(): Namespaces {
  beds += 1;
  const world = new Namespaces(`${process.pid}n${beds}`);
  worlds.push(world);
  return world;
}

function nicOf(number: number, more: Partial<GuestNic> = {}): GuestNic {
  return {
    network: "lan",
    attachment: "user",
    mac: `52:54:00:53:00:0${number}`,
    mtu: 1_400,
    addressing: "static",
    address: `10.53.0.${number}/24`,
    ...more,
  };
}

type BedOptions = { readonly config?: NetworksConfigInput; readonly namespace?: string };

function networksOf({ config = {}, namespace }: BedOptions, stateFolder = newFolder()) {
  return openHostNetworks({
    config: networksConfigSchema.parse({ ...config, ...(namespace === undefined ? {} : { namespace }) }),
    stateFolder,
    libvirtUri: "test:///default",
  });
}

function opened(options: BedOptions, stateFolder?: string): HostNetworks {
  const networks = networksOf(options, stateFolder);
  if (!networks.ok) throw new Error(networks.error.reason);
  return networks.value;
}

function bed(options: BedOptions, more: Partial<GuestNic>, traces: () => readonly string[]): NetworkBed {
  const folder = newFolder();
  return {
    open: () => networksOf(options, folder),
    traces: async () => traces(),
    nic: (number) => nicOf(number, more),
  };
}

describe("interfaces with user networking", () => {
  const config = { user: { address: "127.53.0.9", firstPort: 22_100, lastPort: 22_109 } };
  hostNetworksContract(() => bed({ config }, { attachment: "user" }, () => []));

  it("get ports of their own, past those that somebody listens on, until there are none", async () => {
    const busy = createServer().listen(22_201, "127.53.0.9");
    await new Promise((resolve) => busy.once("listening", resolve));
    const networks = opened({ config: { user: { address: "127.53.0.9", firstPort: 22_200, lastPort: 22_202 } } });
    const forwards = [];
    for (const number of [1, 2]) forwards.push(await networks.attach(randomUUID(), nicOf(number)));
    const at = (port: number) => ({ ok: true, value: { kind: "user", forward: { address: "127.53.0.9", port } } });
    expect(forwards).toEqual([at(22_200), at(22_202)]);
    const none = await networks.attach(randomUUID(), nicOf(3));
    expect(!none.ok && none.error.reason).toContain("no port from 22200 to 22202 is free on 127.53.0.9");
    await new Promise((resolve) => busy.close(resolve));
  });
});

describe("the notes of who uses what", () => {
  it("are refused with a remedy when they are not ours", () => {
    const folder = newFolder();
    writeFileSync(join(folder, "networks.json"), '{"uses":[{"vm":"x"}]}');
    const networks = networksOf({}, folder);
    expect(!networks.ok && networks.error.reason).toMatch(/networks\.json is not what .*move it away/);
  });
});

describe("what host.yaml says of networks", () => {
  it.each([
    [{ underlay: { address: "10.0.0.1", peers: [], group: "239.1.1.1" } }, /peers .* or group .* not both/],
    [{ vlan: { bridge: "br", database: "/run/db.sock" } }, /database of ovs-vsctl/],
    [{ access: { address: "10.0.0.1", ports: "22-99999" } }, /range of ports|within 1024/],
    [{ access: { address: "10.0.0.1", ports: "3000-2000" } }, /lower port first/],
    [{ underlay: { address: "10.0.0.1", group: "10.0.0.2" } }, /multicast/],
    [{ bridges: { lan: "a name too long for it" } }, /at most 15 characters/],
    [{ user: { firstPort: 3_000, lastPort: 2_000 } }, /firstPort must not be above lastPort/],
    [{ bridge: {} }, /bridge/],
  ])("%j is refused", (config, message) => {
    const read = networksConfigSchema.safeParse(config);
    expect(read.success ? "" : read.error.message).toMatch(message);
  });
});

describe.runIf(hasRights)("interfaces on the admin's bridges", () => {
  const config = { bridges: { lan: "br-lan" } };
  const withBridge = (mtu = 1_500): { world: Namespaces; namespace: string } => {
    const world = newWorld();
    const namespace = world.add("h");
    ip(["-n", namespace, "link", "add", "br-lan", "mtu", String(mtu), "type", "bridge"]);
    return { world, namespace };
  };
  hostNetworksContract(() => {
    const { world, namespace } = withBridge();
    return bed({ config, namespace }, { attachment: "bridge" }, () => world.links(namespace));
  });

  it.each([
    ["no bridge by that name", { network: "dmz" }, 1_500, /no bridge for network dmz: add it to networks\.bridges/],
    ["a bridge with a smaller MTU", { mtu: 9_000 }, 1_500, /promises an MTU of 9000, bridge br-lan has 1500/],
  ])("are refused where there is %s", async (_what, more, mtu, reason) => {
    const { namespace } = withBridge(mtu);
    const refused = await opened({ config, namespace }).attach(
      randomUUID(),
      nicOf(1, { attachment: "bridge", ...more }),
    );
    expect(!refused.ok && refused.error.reason).toMatch(reason);
  });

  it("are told by the networks whose bridge is there", async () => {
    const { namespace } = withBridge();
    const bridges = { lan: "br-lan", dmz: "br-none", web: "lo" };
    const told = await opened({ config: { bridges }, namespace }).abilities();
    expect(told).toMatchObject({ bridges: ["lan"] });
    expect(told.abilities).toContain("bridge");
    expect(told.lacks.map(({ ability }) => ability)).toEqual(expect.arrayContaining(["vxlan", "vlan"]));
    expect((await opened({ config: {}, namespace }).abilities()).abilities).not.toContain("bridge");
  });

  it("are refused where the bridge does not exist, or is none", async () => {
    const { namespace } = withBridge();
    const bridges = { lan: "br-none", dmz: "lo" };
    const networks = opened({ config: { bridges }, namespace });
    const absent = await networks.attach(randomUUID(), nicOf(1, { attachment: "bridge" }));
    expect(!absent.ok && absent.error.reason).toMatch(/br-none of network lan does not exist/);
    const other = await networks.attach(randomUUID(), nicOf(2, { attachment: "bridge", network: "dmz" }));
    expect(!other.ok && other.error.reason).toMatch(/lo of network dmz is no bridge/);
  });
});

describe.runIf(hasRights)("interfaces on VXLAN networks", () => {
  const config = { underlay: { address: "10.99.0.1", peers: ["10.99.0.2"] } };
  const vxlan = { attachment: "vxlan", vni: 5_301 } as const;
  const host = (): { world: Namespaces; namespace: string } => {
    const world = newWorld();
    const [namespace, other] = [world.add("h"), world.add("o")];
    world.cable([namespace, "under0", "10.99.0.1/24"], [other, "under0", "10.99.0.2/24"]);
    return { world, namespace };
  };
  hostNetworksContract(() => {
    const { world, namespace } = host();
    return bed({ config, namespace }, vxlan, () => world.links(namespace));
  });

  it("are refused where they cannot be, and nothing is left", async () => {
    const { world, namespace } = host();
    const attach = async (options: NetworksConfigInput, more: Partial<GuestNic>): Promise<string> => {
      const tried = await opened({ config: options, namespace }).attach(randomUUID(), nicOf(1, { ...vxlan, ...more }));
      return tried.ok ? "" : tried.error.reason;
    };
    expect(await attach({}, {})).toMatch(/add networks\.underlay to host\.yaml/);
    expect(await attach(config, { mtu: 1_451 })).toMatch(/MTU of 1451 does not fit: .* leaves 1450/);
    expect(await attach({ underlay: { address: "10.99.0.7", peers: [] } }, {})).toMatch(/no interface .* 10\.99\.0\.7/);
    expect(world.links(namespace)).toEqual(["under0"]);
  });

  it("follow a change of the peers after a restart, and mend a tunnel that lost its way", async () => {
    const { namespace } = host();
    const folder = newFolder();
    const vm = randomUUID();
    const flood = (): string => ip(["netns", "exec", namespace, "bridge", "fdb", "show", "dev", "mx5301"]);
    await opened({ config, namespace }, folder).attach(vm, nicOf(1, vxlan));
    expect(flood()).toContain("dst 10.99.0.2");
    const moved = { underlay: { address: "10.99.0.1", peers: ["10.99.0.3"] } };
    await opened({ config: moved, namespace }, folder).attach(vm, nicOf(1, vxlan));
    expect(flood()).toContain("dst 10.99.0.3");
    expect(flood()).not.toContain("dst 10.99.0.2");
    ip(["-n", namespace, "link", "del", "mx5301"]);
    await opened({ config, namespace }, folder).attach(vm, nicOf(1, vxlan));
    expect(flood()).toContain("dst 10.99.0.2");
  });

  it("find the other hosts by what the leader tells, at its ports, and keep what they have until then", async () => {
    const { namespace } = host();
    const folder = newFolder();
    const vm = randomUUID();
    const learning = { underlay: { address: "10.99.0.1" } };
    const flood = (): readonly string[] =>
      ip(["netns", "exec", namespace, "bridge", "fdb", "show", "dev", "mx5301"])
        .split("\n")
        .flatMap((line) => /^00:00:00:00:00:00 dst (\S+(?: port \d+)?)/.exec(line)?.[1] ?? [])
        .sort();
    const first = opened({ config: learning, namespace }, folder);
    expect(first.underlay).toEqual({ address: "10.99.0.1", port: 4_789 });
    await first.attach(vm, nicOf(1, vxlan));
    expect(flood()).toEqual([]);
    const end = (name: string, address: string, port = 4_789) => ({ host: name, address, port });
    await first.learn([end("a", "10.99.0.1"), end("b", "10.99.0.2"), end("c", "10.99.0.3", 4_790)]);
    expect(flood()).toEqual(["10.99.0.2", "10.99.0.3 port 4790"]);
    const again = opened({ config: learning, namespace }, folder);
    await again.attach(vm, nicOf(1, vxlan));
    expect(flood()).toHaveLength(2);
    await again.learn([end("a", "10.99.0.1"), end("c", "10.99.0.3")]);
    expect(flood()).toEqual(["10.99.0.3"]);
    await again.attach(randomUUID(), nicOf(2, { ...vxlan, network: "other", vni: 5_302 }));
    expect(ip(["netns", "exec", namespace, "bridge", "fdb", "show", "dev", "mx5302"])).toContain("dst 10.99.0.3");
  });

  it("go by host.yaml where it names the others, whatever the leader tells", async () => {
    const { namespace } = host();
    const networks = opened({ config, namespace });
    await networks.attach(randomUUID(), nicOf(1, vxlan));
    await networks.learn([{ host: "c", address: "10.99.0.9", port: 4_789 }]);
    const flood = ip(["netns", "exec", namespace, "bridge", "fdb", "show", "dev", "mx5301"]);
    expect(flood).toContain("dst 10.99.0.2");
    expect(flood).not.toContain("10.99.0.9");
  });

  it("of nobody are swept away, but neither one that a guest is on nor one that is not ours", async () => {
    const { world, namespace } = host();
    const lost = opened({ config, namespace });
    await lost.attach(randomUUID(), nicOf(1, vxlan));
    await lost.attach(randomUUID(), nicOf(2, { ...vxlan, network: "other", vni: 5_302 }));
    ip(["-n", namespace, "link", "add", "tap0", "type", "veth", "peer", "name", "guest0"]);
    ip(["-n", namespace, "link", "set", "tap0", "up", "master", "mb5302"]);
    ip(["-n", namespace, "link", "add", "mb77", "up", "type", "bridge"]);
    await opened({ config, namespace }).reconcile(new Set());
    expect([...world.links(namespace)].sort()).toEqual(["guest0", "mb5302", "mb77", "mx5302", "tap0", "under0"]);
  });
});
