import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { FederationRun, muster, newStateFolder } from "../system/federation-run.ts";
import { until } from "../system/until.ts";

const state = newStateFolder();
const SMALL = ["--sites", "1", "--hosts", "1", "--hypervisor", "simulated"];
const OURS = [...SMALL, "--store", "etcd", "--loopback", "147"];

function processes(): { readonly name: string; readonly pid: number }[] {
  return JSON.parse(readFileSync(join(state, "processes.json"), "utf8"));
}

afterAll(() => rmSync(state, { recursive: true, force: true }));

it("runs etcd with the federation, starts a member again that was killed, and stops all of it", {
  timeout: 180_000,
}, async () => {
  const run = await FederationRun.up(state, OURS, 90_000);
  expect(run.said).toContain("etcd: 3 members on 127.0.147.2, 127.0.147.3, 127.0.147.4");
  const created = await run
    .client()
    .createVms(
      { name: "kept", project: "p", spec: { image: "debian-12", vcpus: 1, memoryMiB: 64, diskGiB: 1 } },
      "request-kept",
    );
  expect(created.ok).toBe(true);
  const doctor = await muster(["doctor", "--state", state, "--format", "json"]);
  const checks: { name: string; verdict: string; message: string }[] = JSON.parse(doctor.stdout);
  expect(checks.filter(({ name, verdict }) => name.startsWith("etcd") && verdict === "fail")).toEqual([]);
  expect(checks.find(({ name }) => name === "etcd muster/alpha.test/")?.message).toBe(
    "a leads alpha.test under term 1",
  );
  const { pid } = processes().find(({ name }) => name === "etcd m2") ?? { pid: 0 };
  process.kill(pid, "SIGKILL");
  await run.saying(/etcd m2 ended \(signal SIGKILL\); starting it again/);
  await until("another m2", () => (processes().find(({ name }) => name === "etcd m2")?.pid ?? pid) !== pid);
  const members = processes().filter(({ name }) => name.startsWith("etcd"));
  expect((await run.interrupt()).code).toBe(0);
  for (const member of members) expect(() => process.kill(member.pid, 0)).toThrow("ESRCH");
});

it("H1: refuses to go on over the other store, or with etcd's members elsewhere; and goes on with what was kept", {
  timeout: 180_000,
}, async () => {
  const refused = async (args: readonly string[]): Promise<string> => {
    const ended = await muster(["up", "--state", state, ...SMALL, ...args, "--exit"]);
    expect(ended.code).toBe(1);
    return ended.stderr;
  };
  expect(await refused(["--store", "level", "--loopback", "147"])).toContain(
    "start with --store etcd, or forget them with --fresh",
  );
  expect(await refused(["--store", "etcd", "--loopback", "148"])).toContain("have their addresses from --loopback 147");
  const again = await FederationRun.up(state, OURS, 90_000);
  expect(await again.client().vm("kept")).toMatchObject({ ok: true, value: { name: "kept" } });
  const site = await again.client().site();
  expect(site.ok && site.value.term).toBe(2);
  expect((await again.interrupt()).code).toBe(0);
});
