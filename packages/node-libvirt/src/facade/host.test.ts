import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PrivateDaemon } from "../daemon/private-daemon.ts";
import { Libvirt } from "../libvirt.ts";
import { eventually, rejection } from "../testing/eventually.ts";
import { startPrivateDaemon, testDomainXml } from "../testing/private-daemon.ts";

let daemon: PrivateDaemon;
let libvirt: Libvirt;

beforeAll(async () => {
  daemon = await startPrivateDaemon();
  libvirt = await Libvirt.open({ socketPath: daemon.socketPath, uri: daemon.uri });
});

afterAll(async () => {
  await libvirt.close();
  await daemon.stop();
});

describe("the node", () => {
  it("tells its model, memory, CPUs and NUMA cells", async () => {
    const { node } = libvirt;
    expect(await node.info()).toEqual({
      model: "i686",
      memoryKiB: 3_145_728,
      cpus: 16,
      mhz: 1_400,
      numaNodes: 2,
      socketsPerNode: 2,
      coresPerSocket: 2,
      threadsPerCore: 2,
    });
    expect(await node.freeMemoryBytes()).toBeGreaterThan(0n);
    const cells = await node.cellsFreeMemoryBytes();
    expect(cells).toHaveLength(2);
    expect(await node.cellsFreeMemoryBytes(1, 1)).toEqual([cells[1]]);
  });

  it("tells its capabilities, name, kind and versions", async () => {
    const { node } = libvirt;
    expect(await node.capabilities()).toMatch(/^<capabilities>/);
    expect(await node.hypervisorType()).toBe("TEST");
    expect(await node.hostname()).not.toBe("");
    expect(await node.libvirtVersion()).toMatch(/^\d+\.\d+\.\d+$/);
    expect(await node.hypervisorVersion()).toMatch(/^\d+\.\d+\.\d+$/);
    expect(await node.maxVcpus()).toBeGreaterThan(0);
    const cpu = await node.cpuStatsNs();
    expect(Object.keys(cpu).sort()).toEqual(["idle", "iowait", "kernel", "user"]);
  });

  it("says what the driver does not support by libvirt's code 3", async () => {
    expect(await rejection(libvirt.node.memoryStatsKiB())).toMatchObject({ kind: "libvirt", code: 3 });
    expect(await rejection(libvirt.node.domainCapabilities({ virtType: "test" }))).toMatchObject({ code: 3 });
  });
});

describe("figures of all domains", () => {
  it("come in one call, by group", async () => {
    const xml = testDomainXml("figures", "5d1c9f0e-5d0f-4f2a-9a55-0d6c7a6f1b22");
    const domain = await libvirt.domains.define(xml);
    const all = await libvirt.resources.stats({ groups: ["state"] });
    const stats = new Map(all.map((record) => [record.domain.name, record.stats]));
    expect(stats.get("test")).toEqual({ "state.state": 1, "state.reason": 0 });
    expect(stats.get("figures")).toEqual({ "state.state": 5, "state.reason": 0 });
    const one = await libvirt.resources.stats({ domains: [domain] });
    expect(one.map((record) => record.domain.name)).toEqual(["figures"]);
    await libvirt.domains.undefine(domain);
  });
});

describe("networks", () => {
  const xml =
    "<network><name>net-a</name><bridge name='virbr9'/><ip address='192.168.99.1' netmask='255.255.255.0'/></network>";

  it("are defined, started, described, stopped and undefined, and tell of it", async () => {
    const { networks } = libvirt;
    const seen: string[] = [];
    const subscription = await networks.onLifecycle(({ network, event }) => seen.push(`${network.name} ${event}`));
    const network = await networks.define(xml);
    expect(await networks.isActive(network)).toBe(false);
    await networks.start(network);
    expect((await networks.list({ active: true })).map(({ name }) => name)).toContain("net-a");
    expect(await networks.bridgeName(network)).toBe("virbr9");
    expect(await networks.xml(network)).toContain("192.168.99.1");
    await networks.setAutostart(network, true);
    expect(await networks.autostart(network)).toBe(true);
    expect(await networks.lookupByUuid(network.uuid)).toEqual(network);
    await networks.destroy(network);
    expect((await networks.list({ active: false })).map(({ name }) => name)).toEqual(["net-a"]);
    await networks.undefine(network);
    expect(await networks.lookupByName("net-a")).toBeUndefined();
    await eventually("four events", () => seen.length === 4);
    expect(seen).toEqual(["net-a defined", "net-a started", "net-a stopped", "net-a undefined"]);
    await subscription.close();
  });

  it("may be created to be gone once stopped", async () => {
    const network = await libvirt.networks.create(xml);
    await libvirt.networks.destroy(network);
    expect(await libvirt.networks.lookupByName("net-a")).toBeUndefined();
  });
});

describe("pools and volumes", () => {
  const poolXml = "<pool type='dir'><name>pool-a</name><target><path>/nonexistent/pool-a</path></target></pool>";
  const volumeXml = (name: string) =>
    `<volume><name>${name}</name><capacity unit='MiB'>64</capacity><target><format type='qcow2'/></target></volume>`;

  it("are defined, started, filled, told about, emptied, stopped and undefined", async () => {
    const { pools, volumes } = libvirt;
    const seen: string[] = [];
    const subscription = await pools.onLifecycle(({ event }) => seen.push(event));
    const pool = await pools.define(poolXml);
    await pools.build(pool);
    await pools.start(pool);
    expect(await pools.isActive(pool)).toBe(true);
    await pools.refresh(pool);
    const before = await pools.info(pool);
    expect(before.state).toBe("running");
    const volume = await volumes.create(pool, volumeXml("disk"));
    const copy = await volumes.clone(pool, volumeXml("copy"), volume);
    expect((await volumes.list(pool)).map(({ name }) => name).sort()).toEqual(["copy", "disk"]);
    expect(await volumes.info(volume)).toMatchObject({ kind: "file", capacityBytes: 67_108_864n });
    expect((await pools.info(pool)).allocationBytes).toBeGreaterThan(before.allocationBytes);
    expect(await volumes.path(volume)).toBe("/nonexistent/pool-a/disk");
    expect(await volumes.lookupByName(pool, "disk")).toEqual(volume);
    expect(await volumes.lookupByPath("/nonexistent/pool-a/copy")).toEqual(copy);
    expect(await volumes.xml(volume)).toContain("<name>disk</name>");
    await volumes.delete(volume);
    await volumes.delete(copy);
    expect(await volumes.lookupByName(pool, "disk")).toBeUndefined();
    expect((await pools.list({ active: true })).map(({ name }) => name)).toContain("pool-a");
    expect(await pools.xml(pool)).toContain("pool-a");
    expect(await pools.lookupByUuid(pool.uuid)).toEqual(pool);
    await pools.destroy(pool);
    await pools.undefine(pool);
    expect(await pools.lookupByName("pool-a")).toBeUndefined();
    await eventually("events of the pool", () => seen.includes("undefined"));
    expect(seen.filter((event) => event !== "created")).toEqual(["defined", "started", "stopped", "undefined"]);
    await subscription.close();
  });
});
