import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRng, systemClock, systemRng } from "@muster/base";
import { cloudAddress, hostAccount } from "@muster/protocol";
import { type Bus, memoryNetwork } from "@muster/xmpp";
import { Libvirt, type PrivateDaemon, startEmbeddedDaemon } from "node-libvirt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type HostConfigInput, hostConfigSchema } from "../config.ts";
import { createHostManager, type HostManager } from "../host-manager.ts";
import { memoryDisk, memoryJournal } from "../journal/memory.ts";
import { command, vmId } from "../testing/fixture.ts";
import { TestLeader } from "../testing/leader.ts";
import { until } from "../testing/until.ts";
import { type EmbeddedHypervisor, startEmbedded } from "./embedded.ts";
import { libvirtHypervisor } from "./libvirt.ts";
import { NS_VM, planInDomainXml } from "./metadata.ts";

const SITE = "alpha.test";
const LOG = { info: () => {}, warn: () => {}, error: () => {} };
// Short enough for a hang to be noticed within a test, long enough for a machine that is busy with other tests.
const TIMES = { readMs: 1_000, orderMs: 3_000 } as const;

let folder: string;
let daemon: PrivateDaemon;
let cloud: Bus;
let leader: TestLeader;
let network: ReturnType<typeof memoryNetwork>;
let managers: HostManager[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "muster-lv-"));
  daemon = await startEmbeddedDaemon({ stateDir: folder });
  network = memoryNetwork({ clock: systemClock, rng: seededRng(3) });
  cloud = network.component(cloudAddress(SITE));
  leader = new TestLeader(cloud);
  cloud.start();
  managers = [];
});
afterEach(async () => {
  await Promise.all(managers.map((manager) => manager.stop()));
  await cloud.stop();
  await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(disk = memoryDisk(), more: Partial<HostConfigInput> = {}): Promise<HostManager> {
  const config = hostConfigSchema.parse({
    site: SITE,
    name: "h1",
    state: folder,
    xmpp: { service: "xmpps://127.0.0.1:5223", passwordFile: "/nowhere" },
    hypervisor: { kind: "libvirt" },
    total: { vcpus: 16, memoryMiB: 65_536, diskGiB: 500 },
    heartbeatMs: 100,
    reportMs: 10,
    surveyMs: 200,
    ...more,
  });
  const { socketPath, uri } = daemon;
  const manager = createHostManager({
    config,
    clock: systemClock,
    rng: systemRng,
    bus: network.client(`${hostAccount("h1", SITE)}/hm`),
    hypervisor: libvirtHypervisor({ clock: systemClock, rng: systemRng, socketPath, uri, ...TIMES }),
    journal: memoryJournal(disk),
    log: LOG,
    onFatal: (reason) => {
      throw new Error(reason);
    },
  });
  managers.push(manager);
  const started = await manager.start();
  if (!started.ok) throw new Error(started.error.message);
  leader.capacities.length = 0;
  await accepting();
  return manager;
}

async function accepting(): Promise<void> {
  await until("the host to accept", () => leader.capacity?.condition === "accepting", 20_000);
}

async function behind<Value>(look: (libvirt: Libvirt) => Promise<Value>): Promise<Value> {
  const libvirt = await Libvirt.open({ socketPath: daemon.socketPath, uri: daemon.uri });
  try {
    return await look(libvirt);
  } finally {
    await libvirt.close();
  }
}

describe("a host over a real libvirtd", () => {
  it("writes into the domain who it belongs to, where any libvirt client can read it", async () => {
    await start();
    await leader.command(command(1, "start", { attempt: 3 }));
    await until("running", () => leader.told(vmId(1), "running"));
    const [metadata, plan, title] = await behind(async ({ domains, metadata: read }) => {
      const ref = { uuid: vmId(1) };
      const xml = await domains.xml(ref);
      return [await read.get(ref, NS_VM), planInDomainXml(xml), await read.title(ref)];
    });
    expect(metadata).toContain(`vm="${vmId(1)}"`);
    expect(metadata).toContain('request="request-1"');
    expect(plan).toMatchObject({ attempt: 3, subject: { owner: "ada", project: "shop" } });
    expect(title).toBe("web-1");
  });

  it("H3: the test driver's own domain is foreign: counted, and left alone", async () => {
    await start();
    expect(leader.capacity).toMatchObject({ foreignVms: 1, vms: 0 });
    expect(leader.capacity?.reserved.vcpus).toBeGreaterThan(0);
    expect(await behind(({ domains }) => domains.lookupByName("test"))).toBeDefined();
  });

  it("H3: a new host manager without a journal adopts what runs, with everything that was ordered", async () => {
    const first = await start();
    await leader.command(command(1, "start", { attempt: 2 }));
    await until("running", () => leader.told(vmId(1), "running"));
    const record = first.state?.attempts.get(vmId(1));
    await first.stop();
    leader.notices.length = 0;
    const second = await start();
    await until("the adopted VM to be told", () => leader.told(vmId(1), "running"));
    expect(second.state?.attempts.get(vmId(1))).toMatchObject({
      attempt: 2,
      state: "running",
      subject: record?.subject,
    });
    expect(leader.capacity).toMatchObject({ vms: 1, used: { vcpus: 1 } });
  });

  it("a VM stopped behind the manager's back is told as stopped", async () => {
    await start(memoryDisk(), { surveyMs: 60_000 });
    await leader.command(command(1, "start"));
    await until("running", () => leader.told(vmId(1), "running"));
    await behind(({ domains }) => domains.destroy({ uuid: vmId(1) }));
    await until("stopped", () => leader.told(vmId(1), "stopped"));
  });

  it("H3: a libvirtd that hangs degrades the host; when it answers again everything is as it was", {
    timeout: 30_000,
  }, async () => {
    await start();
    await leader.command(command(1, "start"));
    await until("running", () => leader.told(vmId(1), "running"));
    process.kill(daemon.pid, "SIGSTOP");
    try {
      await until("degraded", () => leader.capacity?.condition === "degraded");
      expect(await leader.command(command(2, "start", { vm: 2 }))).toMatchObject({ kind: "resource-constraint" });
    } finally {
      process.kill(daemon.pid, "SIGCONT");
    }
    await accepting();
    expect(leader.told(vmId(1), "failed")).toBeUndefined();
    expect(await behind(({ domains }) => domains.isActive({ uuid: vmId(1) }))).toBe(true);
    expect(await leader.command(command(3, "start", { vm: 3 }))).toMatchObject({ state: "starting" });
  });

  it("H5: a start that a hung libvirtd got is carried out once, and told when it answers", {
    timeout: 30_000,
  }, async () => {
    await start();
    process.kill(daemon.pid, "SIGSTOP");
    try {
      await leader.command(command(1, "start"));
      await until("degraded", () => leader.capacity?.condition === "degraded");
      expect(await leader.command(command(2, "void"))).toMatchObject({ state: "starting" });
    } finally {
      process.kill(daemon.pid, "SIGCONT");
    }
    await until("running", () => leader.told(vmId(1), "running"), 20_000);
    const all = await behind(({ domains }) => domains.list());
    expect(all.filter(({ uuid }) => uuid === vmId(1))).toHaveLength(1);
  });

  it("H5: libvirtd killed with SIGKILL: the host is degraded, comes back, and tells what is lost", {
    timeout: 60_000,
  }, async () => {
    await start();
    await leader.command(command(1, "start"));
    await until("running", () => leader.told(vmId(1), "running"));
    process.kill(daemon.pid, "SIGKILL");
    await daemon.exited;
    await until("degraded", () => leader.capacity?.condition === "degraded");
    await daemon.stop();
    daemon = await startEmbeddedDaemon({ stateDir: folder });
    await until("failed", () => leader.told(vmId(1), "failed"), 20_000);
    await accepting();
    expect(await leader.command(command(2, "start"))).toMatchObject({ state: "failed" });
    expect(await leader.command(command(3, "start", { vm: 3 }))).toMatchObject({ state: "starting" });
    await until("another VM to run", () => leader.told(vmId(3), "running"), 15_000);
  });
});

describe("the private libvirtd of a host manager", () => {
  it("is started again when it ends, and stopped with its owner", { timeout: 30_000 }, async () => {
    const ends: string[] = [];
    const own: EmbeddedHypervisor = await startEmbedded({
      folder: join(folder, "own"),
      clock: systemClock,
      rng: systemRng,
      onEnd: (reason) => ends.push(reason),
    });
    const probe = (): Promise<boolean> =>
      Libvirt.open({ socketPath: own.socketPath, uri: own.uri, openTimeoutMs: 500 }).then(
        async (libvirt) => {
          await libvirt.close();
          return true;
        },
        () => false,
      );
    try {
      await until("it to answer", probe);
      const pid = Number(readFileSync(join(folder, "own", "libvirtd.pid"), "utf8"));
      process.kill(pid, "SIGKILL");
      await until("its end to be noticed", () => ends.length > 0);
      await until("it to answer again", probe, 20_000);
    } finally {
      await own.stop();
    }
    expect(await probe()).toBe(false);
  });
});
