import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { FederationRun, finished, muster, newStateFolder } from "./federation-run.ts";
import { processesOf, tracesOf } from "./traces.ts";
import { until } from "./until.ts";

const CHECKOUT = join(import.meta.dirname, "..", "..");
const runs: FederationRun[] = [];
const folders: string[] = [];

function stateFolder(): string {
  const folder = newStateFolder();
  folders.push(folder);
  return folder;
}

function begin(args: readonly string[], state = stateFolder()): FederationRun {
  const run = new FederationRun(state, args);
  runs.push(run);
  return run;
}

afterEach(async () => {
  for (const run of runs.splice(0)) await run.clear();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe("muster up", () => {
  it("walks the main job on two real sites in under a minute, and leaves nothing running", async () => {
    const startedMs = performance.now();
    const run = begin(["--fresh", "--tour", "--exit", "--loopback", "61"]);
    const { code, stdout, stderr } = await run.ended;
    expect(stdout, stderr).toMatch(/\n(\d+) passed, 0 failed\n$/);
    expect(Number(/(\d+) passed/.exec(stdout)?.[1])).toBeGreaterThan(20);
    expect(code).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(60_000);
    expect(tracesOf(run.state, [61, 62])).toEqual([]);
  });

  it("says in plain lines what it does and what to try, and follows what happens, where there is no terminal", async () => {
    const run = begin(["--hosts", "1", "--hypervisor", "simulated", "--loopback", "63"]);
    await run.saying(/Ctrl-C stops everything/, 40_000);
    expect(run.said).toMatch(/alpha: XMPP server on 127\.0\.63\.1/);
    expect(run.said).toMatch(/alpha: leads, 1 hosts heard/);
    expect(run.said).toMatch(/muster vm create/);
    const created = await muster(["--state", run.state, "vm", "create", "--name", "seen", "--image", "debian-12"]);
    expect(created.code).toBe(0);
    await until("the event in what it prints", () => /alpha: vm .*seen/.test(run.stdout));
    expect(run.said).not.toContain("\u001b");
    const { code } = await run.interrupt();
    expect(code).toBe(0);
    expect(tracesOf(run.state, [63, 64])).toEqual([]);
  });

  it("draws the live view on a terminal, and gives the terminal back", async () => {
    const state = stateFolder();
    const transcript = join(state, "typescript");
    const command = `exec ${join(CHECKOUT, "muster")} up --sites 1 --hosts 2 --hypervisor simulated --loopback 65 --state ${state}`;
    // script(1) of util-linux gives the command a terminal of its own and writes down all that is drawn.
    const terminal = spawn("script", ["--quiet", "--return", "--flush", "--command", command, transcript], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, TERM: "xterm-256color" },
    });
    const ended = finished(terminal);
    const drawn = (): string => (existsSync(transcript) ? readFileSync(transcript, "utf8") : "");
    try {
      await until(
        () => `a host in ${drawn().slice(-2_000)}`,
        () => /host1 .*vCPU free/.test(drawn()),
        40_000,
      );
      expect(drawn()).toContain("\u001b[?1049h");
      expect(drawn()).toMatch(/alpha\.test.*term 1, leader a/);
      expect(drawn()).toMatch(/Ctrl-C stops everything/);
      const [supervisor] = processesOf(state).filter(({ command: line }) => /main\.ts up/.test(line));
      process.kill(supervisor?.pid ?? 0, "SIGINT");
      const { code } = await ended;
      expect(code).toBe(0);
      expect(drawn().split("\u001b[?1049l")[1]).toMatch(/stopped; nothing is left running/);
    } finally {
      terminal.kill("SIGTERM");
      await ended;
    }
    await until("nothing left", () => tracesOf(state, [65]).length === 0);
  });

  it("starts as many sites and hosts as it is told to, each peer of each", async () => {
    const run = begin(["--sites", "3", "--hosts", "5", "--loopback", "67"]);
    await run.saying(/3 sites are up after/, 60_000);
    for (const site of ["alpha", "beta", "gamma"]) {
      const hosts = await run.client(site).hosts();
      expect(hosts.ok && hosts.value.map(({ liveness }) => liveness)).toEqual(Array(5).fill("alive"));
      const peers = await run.client(site).peers();
      expect(peers.ok && peers.value).toHaveLength(2);
    }
    expect(processesOf(run.state).filter(({ command }) => /libvirtd -f/.test(command))).toHaveLength(15);
    const { code } = await run.interrupt();
    expect(code).toBe(0);
    expect(tracesOf(run.state, [67, 68, 69])).toEqual([]);
  });

  it.each([
    [["--sites", "0"], /--sites must be 1 to 10/],
    [["--sites", "2.5"], /--sites must be/],
    [["--hosts", "51"], /--hosts must be 1 to 50/],
    [["--loopback", "300"], /--loopback must be/],
    [["--hosts", "many"], /expected a number/],
    [["--hypervisor", "xen"], /libvirt.*simulated/],
    [["--tour", "--sites", "1"], /two sites/],
    [["--tour", "--hypervisor", "qemu"], /the tour is for hosts without real guests/],
    [["--fast"], /unknown option/],
  ])("refuses %s as wrong usage before anything is done", async (args, message) => {
    const { code, stdout, stderr } = await begin(args).ended;
    expect(stderr).toMatch(message);
    expect(stdout).toBe("");
    expect(code).toBe(2);
  });

  it("stops what had started when interrupted in the middle of its start", async () => {
    const run = begin(["--loopback", "70"]);
    await run.saying(/XMPP server on/);
    const { code, stderr } = await run.interrupt();
    expect(stderr).toMatch(/interrupted before everything was up/);
    expect(code).toBe(1);
    expect(tracesOf(run.state, [70, 71])).toEqual([]);
  });

  it("is no success when the tour is interrupted", async () => {
    const run = begin(["--tour", "--exit", "--hosts", "1", "--loopback", "72"]);
    await run.saying(/1\. VMs are placed/, 40_000);
    const { code, stderr, stdout } = await run.interrupt();
    expect(stderr).toMatch(/the tour was interrupted/);
    expect(stdout).not.toMatch(/passed/);
    expect(code).toBe(1);
    expect(tracesOf(run.state, [72, 73])).toEqual([]);
  });
});
