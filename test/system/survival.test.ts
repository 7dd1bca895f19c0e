import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runningDomains } from "./domains.ts";
import { FederationRun, newStateFolder } from "./federation-run.ts";
import { processesOf, processOf, tracesOf } from "./traces.ts";
import { until } from "./until.ts";

const LOOPBACKS = [74, 75];
const ARGS = ["--hosts", "2", "--loopback", "74"];
const VMS = 4;
const PARTS = {
  "XMPP server": /prosody --config \S+\/alpha\//,
  libvirtd: /libvirtd -f \S+\/alpha\/host1\//,
  "cluster manager a": /cluster-manager\/src\/main\.ts --config \S+\/alpha\/\S+\/cluster-a\.yaml/,
  "host manager": /host-manager\/src\/main\.ts --config \S+\/alpha\/host1\//,
};

const state = newStateFolder();
let run: FederationRun;
let wanted: readonly string[] = [];

/** Every wanted VM is said to run, and libvirt's own tool sees each on exactly one host (P1). */
async function allRunOnce(): Promise<boolean> {
  const vms = await run.client().vms({ final: "false" });
  if (!vms.ok || vms.value.length !== VMS || vms.value.some(({ phase }) => phase !== "running")) return false;
  const hosts = await run.client().hosts();
  if (!hosts.ok || hosts.value.some(({ liveness }) => liveness !== "alive")) return false;
  const domains = await runningDomains(state, "alpha").catch(() => new Map<string, readonly string[]>());
  return domains.size === VMS && vms.value.every(({ id }) => domains.get(id)?.length === 1);
}

async function look(): Promise<string> {
  const vms = await run.client().vms({ final: "false" });
  const seen = vms.ok ? vms.value.map(({ id, phase, place }) => `${id} ${phase} ${JSON.stringify(place)}`) : [];
  const domains = await runningDomains(state, "alpha").catch(() => new Map());
  return `all run once; VMs:\n${seen.join("\n")}\ndomains: ${JSON.stringify([...domains])}\n${run.said.slice(-1_500)}`;
}

async function untilAllRunOnce(): Promise<void> {
  let last = "";
  await until(
    () => last,
    async () => {
      const holds = await allRunOnce();
      if (!holds) last = await look();
      return holds;
    },
    40_000,
  );
}

describe("a federation that loses parts", () => {
  beforeAll(async () => {
    run = await FederationRun.up(state, ARGS);
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5 };
    const created = await run.client().createVms({ name: "kept", count: VMS, spec }, "kept-1");
    wanted = created.ok ? created.value.vms.map(({ id }) => id) : [];
    await untilAllRunOnce();
  });

  afterAll(async () => {
    await run.clear();
    expect(tracesOf(state, LOOPBACKS)).toEqual([]);
  });

  it.each(Object.entries(PARTS))("starts a killed %s again; every VM runs, and none twice", async (part, pattern) => {
    const before = processOf(state, pattern);
    const others = Object.values(PARTS)
      .filter((other) => other !== pattern)
      .map((other) => processOf(state, other).pid);
    process.kill(before.pid, "SIGKILL");
    await run.saying(new RegExp(`${part} ended \\(signal SIGKILL\\); starting it again in \\d+ ms`));
    await until(
      `another ${part}`,
      () => processesOf(state).some(({ pid, command }) => pattern.test(command) && pid !== before.pid),
      10_000,
    );
    await untilAllRunOnce();
    const now = Object.values(PARTS).map((other) => processOf(state, other).pid);
    expect(now).toEqual(expect.arrayContaining(others));
  });

  it("refuses a second supervisor over the same state, and goes on", async () => {
    const { code, stderr } = await new FederationRun(state, ["--loopback", "76"]).ended;
    expect(stderr).toMatch(new RegExp(`already running \\(process ${run.pid}\\)`));
    expect(code).toBe(1);
    expect(await allRunOnce()).toBe(true);
  });

  it("names address and port where one is taken, and leaves nothing of the second start", async () => {
    const second = new FederationRun(newStateFolder(), ARGS);
    const { code, stderr } = await second.ended;
    expect(stderr).toMatch(/127\.0\.7[45]\.1:\d+/);
    expect(code).toBe(1);
    expect(tracesOf(second.state, [])).toEqual([]);
    await second.clear();
    expect(await allRunOnce()).toBe(true);
  });

  it("stops on Ctrl-C without a trace, and the next start finds the same VMs wanted and runs them", async () => {
    const { code, stderr } = await run.interrupt();
    expect(stderr).toMatch(/stopped; nothing is left running, the state is kept/);
    expect(code).toBe(0);
    expect(tracesOf(state, LOOPBACKS)).toEqual([]);
    run = await FederationRun.up(state, ARGS);
    await untilAllRunOnce();
    expect([...(await runningDomains(state, "alpha")).keys()].sort()).toEqual([...wanted].sort());
  });

  it("dies with its supervisor when that is killed, and the next start takes over what it left", async () => {
    run.signal("SIGKILL");
    await run.ended;
    await until("no process is left", () => processesOf(state).length === 0, 4_000);
    const lock = JSON.parse(readFileSync(join(state, "supervisor.json"), "utf8"));
    expect(lock.pid).toBe(run.pid);
    run = await FederationRun.up(state, ARGS);
    await untilAllRunOnce();
  });

  it("takes over from a supervisor whose number is another process's now", async () => {
    await run.interrupt();
    writeFileSync(join(state, "supervisor.json"), JSON.stringify({ pid: process.pid, startTicks: 1 }));
    writeFileSync(
      join(state, "processes.json"),
      JSON.stringify([{ name: "alpha cluster manager", pid: process.pid, startTicks: 1 }]),
    );
    run = await FederationRun.up(state, ARGS);
    expect(run.said).not.toMatch(/left behind/);
    await untilAllRunOnce();
  });

  it("gives up on a part that cannot be kept running: its last words, exit 1, nothing left", async () => {
    const manager = processOf(state, PARTS["host manager"]);
    const config = join(state, "alpha", "host1", "host.yaml");
    const good = readFileSync(config, "utf8");
    writeFileSync(config, `${good}\nheartbeats: 3\n`);
    process.kill(manager.pid, "SIGKILL");
    const { code, stderr } = await run.ended;
    writeFileSync(config, good);
    expect(stderr).toMatch(/alpha\/host1 host manager cannot be kept running/);
    expect(stderr).toMatch(/heartbeats/);
    expect(code).toBe(1);
    expect(tracesOf(state, LOOPBACKS)).toEqual([]);
  });

  it("--fresh forgets the VMs", async () => {
    run = await FederationRun.up(state, [...ARGS, "--fresh"]);
    const vms = await run.client().vms();
    expect(vms.ok && vms.value).toEqual([]);
    expect((await runningDomains(state, "alpha")).size).toBe(0);
  });

  it("S2: restarts a part that keeps dying only so often", async () => {
    let killed = 0;
    let last = 0;
    const over = run.ended.then(() => true);
    await until(
      "it gives up",
      async () => {
        const [victim] = processesOf(state).filter(({ command }) => PARTS["cluster manager a"].test(command));
        if (victim !== undefined && victim.pid !== last) {
          last = victim.pid;
          killed += 1;
          process.kill(victim.pid, "SIGKILL");
        }
        return await Promise.race([over, Promise.resolve(false)]);
      },
      60_000,
    );
    const { code, stderr } = await run.ended;
    expect(stderr).toMatch(/alpha cluster manager a cannot be kept running \(signal SIGKILL\)/);
    expect(code).toBe(1);
    expect(killed).toBe(6);
    rmSync(join(state, "supervisor.json"), { force: true });
  });
});
