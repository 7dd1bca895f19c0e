/** A host that is lost, proved dead by its fence agent or by an admin's word, and back again: as a person meets it. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HostView, VmView } from "@muster/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { runningDomains } from "./domains.ts";
import { type Ended, FederationRun, muster, newStateFolder } from "./federation-run.ts";
import { processOf, tracesOf } from "./traces.ts";
import { until } from "./until.ts";

const LOOPBACK = 57;
const MANAGER = /cluster-manager\/src\/main\.ts/;

let run: FederationRun;

function say(...args: readonly string[]): Promise<Ended> {
  return muster(["--state", run.state, ...args]);
}
async function done(...args: readonly string[]): Promise<string> {
  const ended = await say(...args);
  expect(ended.code, `muster ${args.join(" ")}: ${ended.stderr}`).toBe(0);
  return ended.stdout;
}
async function show<Shown>(noun: string, name: string): Promise<Shown> {
  return JSON.parse(await done("--format", "json", noun, "show", name));
}
const vm = (name: string): Promise<VmView> => show("vm", name);
const host = (name: string): Promise<HostView> => show("host", name);
const managerOf = (name: string): RegExp => new RegExp(`host-manager/src/main\\.ts --config \\S+/alpha/${name}/`);
const signal = (name: string, what: NodeJS.Signals): void => {
  process.kill(processOf(run.state, managerOf(name)).pid, what);
};
/** The power of a machine, as its agent sees it: `stuck` cannot be switched off. */
const power = (state: "on" | "stuck"): void => writeFileSync(join(run.state, "power"), state);

/** The hosts on which libvirt itself says that the VM runs. */
async function whereItRuns(id: string): Promise<readonly string[]> {
  return (await runningDomains(run.state, "alpha")).get(id) ?? [];
}

async function silenced(name: string): Promise<void> {
  signal(name, "SIGSTOP");
  await until(`${name} is lost`, async () => (await host(name)).liveness === "lost");
}
async function heard(name: string): Promise<void> {
  signal(name, "SIGCONT");
  await until(`${name} is heard`, async () => (await host(name)).liveness === "alive");
}

beforeAll(async () => {
  const two = ["--sites", "1", "--hosts", "2", "--managers", "1", "--loopback", String(LOOPBACK)];
  run = await FederationRun.up(newStateFolder(), two);
  const program = join(run.state, "agent");
  const at = join(run.state, "power");
  power("on");
  // Options by standard input, `status` answered by the exit code: 0 for on, 2 for off.
  writeFileSync(
    program,
    `#!/bin/sh\noptions=$(cat)\ncase "$options" in *action=off*) grep -q stuck ${at} || echo off > ${at};;\n*) grep -q off ${at} && exit 2;; esac\nexit 0\n`,
  );
  chmodSync(program, 0o755);
  writeFileSync(join(run.state, "options"), "ip=192.0.2.1\npassword=s3cret\n", { mode: 0o600 });
  const { pid, command } = processOf(run.state, MANAGER);
  const path = /--config (\S+)/.exec(command)?.[1] ?? "";
  expect(existsSync(path)).toBe(true);
  const agent = { kind: "program", program, optionsFile: join(run.state, "options"), timeoutMs: 2_000 };
  const config = { ...parse(readFileSync(path, "utf8")), fencing: { host1: agent } };
  writeFileSync(path, stringify(config));
  process.kill(pid, "SIGKILL");
  await until("the manager with its fence agent to lead", async () => (await say("host", "list")).code === 0);
  for (const name of ["host1", "host2"])
    await until(`${name} is heard`, async () => (await host(name)).condition === "accepting");
}, 90_000);

afterAll(async () => {
  await run.clear();
  expect(tracesOf(run.state, [LOOPBACK])).toEqual([]);
});

it("P1: an agent is asked only for a host that is lost, and a host that it does not find off counts as before", async () => {
  await done("host", "drain", "host2", "--keep");
  const size = ["--image", "debian-12", "--memory", "256MiB", "--wait"];
  await done("vm", "create", "--name", "web", ...size);
  await done("vm", "create", "--name", "stays", ...size, "--on-host-loss", "keep");
  await done("host", "undrain", "host2");
  const early = await say("host", "fence", "host1", "--agent");
  expect(early).toMatchObject({ code: 1, stderr: expect.stringMatching(/host1 is heard|is heard/) });
  await silenced("host1");
  await until("web is in doubt", async () => (await vm("web")).phase === "in-doubt");
  power("stuck");
  const stuck = await say("host", "fence", "host1", "--agent");
  expect(stuck.code, stuck.stdout).toBe(1);
  expect(stuck.stderr).toMatch(/on|in time/);
  expect(stuck.stderr).not.toContain("s3cret");
  expect(await vm("web")).toMatchObject({ phase: "in-doubt", place: { host: "host1" }, attempt: 1 });
  const without = await say("host", "fence", "host2", "--agent");
  expect(without.code).toBe(1);
}, 60_000);

it("P1: once its agent found it off, what may is started elsewhere, and what is to keep its disk waits", async () => {
  power("on");
  expect(await done("host", "fence", "host1", "--agent")).toMatch(/host1 +lost +fenced/);
  expect(readFileSync(join(run.state, "power"), "utf8")).toBe("off\n");
  await until("web runs elsewhere", async () => (await vm("web")).phase === "running");
  expect(await vm("web")).toMatchObject({ attempt: 2, place: { host: "host2" } });
  expect((await vm("stays")).phase).not.toBe("running");
  expect(await done("vm", "why", "stays")).toMatch(/host1/);
}, 60_000);

it("a fenced host that is back ends only what has a confirmed place elsewhere, and takes nothing before an admin says so", async () => {
  const [web, stays] = [(await vm("web")).id, (await vm("stays")).id];
  expect([...(await whereItRuns(web))].sort()).toEqual(["host1", "host2"]);
  await heard("host1");
  await until("its copy of web is ended", async () => (await whereItRuns(web)).join() === "host2");
  expect(await whereItRuns(stays)).toEqual(["host1"]);
  await until("what kept its disk runs again", async () => (await vm("stays")).phase === "running");
  expect(await vm("web")).toMatchObject({ phase: "running", place: { host: "host2" } });
  expect((await host("host1")).condition).toBe("fenced");
  expect((await say("doctor")).stdout).toMatch(/host1 .*undrain/);
  await done("host", "undrain", "host1");
  await until("it takes VMs again", async () => (await host("host1")).condition === "accepting");
}, 60_000);

it("P1: an admin's word is proof as well; a copy that comes back before there is another place is the VM again", async () => {
  await done("host", "drain", "host1", "--keep");
  await silenced("host2");
  expect((await say("host", "fence", "host2")).code).toBe(2);
  expect(await done("host", "fence", "host2", "--confirmed")).toMatch(/host2 +lost +fenced/);
  await until("web waits for a place", async () => (await vm("web")).phase === "queued");
  const { id } = await vm("web");
  await heard("host2");
  await until("web is known to run", async () => (await vm("web")).phase === "running");
  expect(await vm("web")).toMatchObject({ attempt: 2, place: { host: "host2" } });
  expect(await whereItRuns(id)).toEqual(["host2"]);
}, 60_000);
