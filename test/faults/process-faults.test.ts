import { spawn } from "node:child_process";
import { join } from "node:path";
import { stateFolder } from "@muster/federation";
import { Level } from "level";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { finished } from "../system/federation-run.ts";
import { processesOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { WAYS } from "../torture/rig.ts";
import { FaultBed } from "./fault-bed.ts";
import { LibvirtTrap, START_DOMAIN } from "./libvirt-trap.ts";
import { SlowDisk } from "./slow-disk.ts";

const LOOPBACK = 70;
/** Longer than a host may be silent, and long enough for its tries to have become rare. */
const GONE_MS = 10_000;
const MANAGER = join(import.meta.dirname, "..", "..", "packages", "cluster-manager", "src", "main.ts");

let bed: FaultBed;
const slowDisk = SlowDisk.open("/tmp", 8);

beforeAll(async () => {
  bed = await FaultBed.start(LOOPBACK);
});

afterAll(async () => {
  slowDisk?.close();
  await bed.stop();
  expect(processesOf(bed.rig.state)).toEqual([]);
  bed.rig.remove();
});

describe("an XMPP server that is gone for long", () => {
  it("P1: nobody is declared dead when it is back, no VM is touched, and what was asked meanwhile is placed", async () => {
    const before = await bed.create("before", { count: 3 });
    await bed.untilRunning(before);
    const { alpha, client, rig } = bed;
    const leader = await alpha.run.leader();
    const seen = new Set<string>();
    const phases = new Set<string>();
    const watch = async (): Promise<readonly string[]> => {
      const [hosts, vms] = await Promise.all([client.hosts(), client.vms({ final: "false" })]);
      if (hosts.ok) for (const { liveness } of hosts.value) seen.add(liveness);
      if (vms.ok) for (const vm of vms.value) if (before.includes(vm.id)) phases.add(vm.phase);
      return hosts.ok ? hosts.value.map(({ liveness }) => liveness) : [];
    };
    rig.signal(alpha.run.serverPid, "SIGKILL");
    // It is started again at once, and nobody gets through to it.
    for (const way of WAYS) alpha.relays[way].mode = { kind: "cut" };
    const goneAtMs = performance.now();
    await until("hosts are unknown", async () => (await watch()).includes("unknown"));
    const meanwhile = await bed.create("meanwhile", { count: 2 });
    await until(
      "the time is over",
      async () => (await watch()).length > 0 && performance.now() - goneAtMs > GONE_MS,
      GONE_MS * 2,
    );
    for (const way of WAYS) alpha.relays[way].mode = { kind: "pass" };
    await until(
      () => `hosts are heard again: ${[...seen]}\n${bed.said}`,
      async () => {
        const now = await watch();
        return now.length > 0 && now.every((liveness) => liveness === "alive");
      },
    );
    await bed.untilRunning(meanwhile);
    expect([...seen]).not.toContain("lost");
    expect([...phases]).toEqual(["running"]);
    expect(await alpha.run.leader()).toBe(leader);
    for (const id of before) expect(bed.runsOf(id)).toHaveLength(1);
  });
});

describe("the way between two sites that is cut during a burst", () => {
  it.each([
    ["before a request arrives", "beta"],
    ["before its answer is back", "alpha"],
  ] as const)("B1, B2: %s: every request takes effect once at the peer", async (moment, silent) => {
    const { alpha, beta, client, rig } = bed;
    const far = rig.client(beta);
    const known = new Set((await held(far)).map(({ id }) => id));
    const way = silent === "beta" ? beta.relays.peers : alpha.relays.peers;
    // Long enough on its way to be cut off there.
    way.mode = { kind: "delay", delayMs: 600 };
    const vms = await bed.create(`burst-${silent}`, { count: 4, burst: "only" });
    await until(`it is ${moment}`, async () => {
      const asked = (await held(client)).filter(({ vm }) => vms.includes(vm));
      if (silent === "beta") return asked.length > 0;
      return (await held(far)).some(({ id }) => !known.has(id));
    });
    for (const { relays } of rig.sites) relays.peers.mode = { kind: "cut" };
    await until("the cut is noticed", async () => alpha.relays.peers.connections + beta.relays.peers.connections === 0);
    for (const { relays } of rig.sites) relays.peers.mode = { kind: "pass" };
    await bed.untilRunning(vms, 30_000);
    const leases = (await held(client)).filter(({ vm }) => vms.includes(vm));
    const twins = (await held(far)).filter(({ vm, stage }) => vms.includes(vm) && stage === "leased");
    expect(leases.map(({ id }) => id).sort()).toEqual(twins.map(({ id }) => id).sort());
    expect(leases).toHaveLength(vms.length);
    for (const id of vms) expect(bed.runsOf(id).map(({ site }) => site)).toEqual(["beta"]);
  });
});

describe("a host manager that is killed in the middle of a start", () => {
  it.each([
    ["between storing and acting", "before"],
    ["between acting and answering", "after"],
  ] as const)("H2, H5: %s: the next one ends what was begun, and the VM is started once", async (_, moment) => {
    const { alpha, rig } = bed;
    const [host] = alpha.run.hosts;
    if (host === undefined) throw new Error("alpha has no host");
    const { hypervisor } = stateFolder(rig.state).site("alpha").host("host1");
    const trap = await LibvirtTrap.open(join(hypervisor, "run", "libvirt-sock"));
    try {
      const { pid } = host.manager;
      host.manager.crash(50);
      await until("another host manager", () => host.manager.pid !== undefined && host.manager.pid !== pid);
      await bed.untilHostsAlive();
      const sprung = trap.next(START_DOMAIN, moment, () => host.manager.crash(200));
      const [vm = ""] = await bed.create(`killed-${moment}`, {
        spec: { image: "debian-12", vcpus: 1, memoryMiB: 64, diskGiB: 1, labels: { zone: "east" } },
      });
      await sprung;
      await bed.untilRunning([vm]);
      expect(await bed.vm(vm)).toMatchObject({ attempt: 1, place: { kind: "host", host: "host1" } });
      expect(bed.runsOf(vm).map(({ attempt }) => attempt)).toEqual([1]);
    } finally {
      await trap.close();
    }
  });
});

describe.skipIf(slowDisk === undefined)("a disk on which every write takes its time", () => {
  it("L3: slows the answers down, loses none of them, and brings nobody else to lead", async () => {
    const { alpha, client } = bed;
    const site = await client.site();
    const parts = [...alpha.run.managers.values(), ...alpha.run.hosts.map(({ manager }) => manager)];
    for (const { pid } of parts) if (pid !== undefined) slowDisk?.slow(pid);
    const startMs = performance.now();
    const ids = await Promise.all(["one", "two", "three"].map((name) => bed.create(`slow-${name}`)));
    const tookMs = performance.now() - startMs;
    expect(tookMs).toBeGreaterThan(100);
    await bed.untilRunning(ids.flat(), 30_000);
    slowDisk?.close();
    const again = await client.site();
    expect(again.ok && site.ok && again.value.term).toBe(site.ok && site.value.term);
    for (const id of ids.flat()) expect(bed.runsOf(id)).toHaveLength(1);
  });
});

describe("a manager of an older version than its store", () => {
  it("does not start, says what to do, and changes nothing", async () => {
    await bed.stop();
    const folder = stateFolder(bed.rig.state).site("alpha").manager;
    const level = new Level<string, string>(join(folder, "store", "db"));
    const meta = JSON.stringify({ schema: 99, term: 7, manager: "newer" });
    await level.put("meta/site", meta);
    await level.close();
    const args = ["--conditions=muster-source", MANAGER, "--config", join(folder, "cluster-a.yaml")];
    const { code, stdout, stderr } = await finished(
      spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] }),
    );
    expect(stdout, stderr).toMatch(/written with store schema 99, this version knows \d+; run the newer version again/);
    expect(code).toBe(2);
    await level.open();
    expect(await level.get("meta/site")).toBe(meta);
    await level.close();
  });
});

/** Exchanges of either side. */
async function held(client: FaultBed["client"]) {
  const leases = await client.leases();
  if (!leases.ok) throw new Error(leases.error.message);
  return leases.value;
}
