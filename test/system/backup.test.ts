import { cpSync, existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runningDomains } from "./domains.ts";
import { FederationRun, muster, newStateFolder } from "./federation-run.ts";
import { processesOf, tracesOf } from "./traces.ts";
import { until } from "./until.ts";

const LOOPBACKS = [42, 43];
const MANAGERS = /cluster-manager\/src\/main\.ts --config (\S+\/alpha\/\S+\.yaml)/;
const SPEC = { image: "debian-12", vcpus: 1, memoryMiB: 256, diskGiB: 2 };

const state = newStateFolder();
const file = join(state, "alpha.backup");
let run: FederationRun;

async function create(name: string, count = 1, spec = SPEC): Promise<readonly string[]> {
  const created = await run.client().createVms({ name, count, spec }, `request-${name}`);
  if (!created.ok) throw new Error(created.error.message);
  return created.value.vms.map(({ id }) => id);
}

function untilPhase(ids: readonly string[], phase: string): Promise<void> {
  return until(
    `${ids.length} VMs ${phase}; ${run.said.slice(-1_000)}`,
    async () => {
      const vms = await Promise.all(ids.map((id) => run.client().vm(id)));
      return vms.every((vm) => vm.ok && vm.value.phase === phase);
    },
    30_000,
  );
}

/** Creates and deletes VMs until told to stop: what a site does while its backup is taken. */
function load(): () => Promise<void> {
  let on = true;
  const client = run.client();
  const working = (async () => {
    for (let round = 0; on; round += 1) {
      const made = await client.createVms({ name: `load-${round}`, spec: SPEC }, `load-${round}`);
      const [vm] = made.ok ? made.value.vms : [];
      if (vm !== undefined && round % 40 !== 5) await client.deleteVm(vm.id);
    }
  })();
  return async () => {
    on = false;
    await working;
  };
}

/** Ends the managers of a site while its hosts run on: whoever starts them again sleeps meanwhile. */
function stopManagers(): readonly string[] {
  run.signal("SIGSTOP");
  const managers = processesOf(state).filter(({ command }) => MANAGERS.test(command));
  for (const { pid } of managers) process.kill(pid, "SIGKILL");
  return managers.map(({ command }) => MANAGERS.exec(command)?.[1] ?? "");
}

/** VMs that a backup holds without a host that had confirmed them: their users wait for them, by id. */
function waitingIn(path: string): ReadonlyMap<string, string> {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n").slice(1, -1);
  const records = lines.map((line): [string, { phase?: string }] => JSON.parse(line));
  const waiting = records.filter(([key, { phase }]) => key.startsWith("vm/") && /^(queued|placing)$/.test(phase ?? ""));
  return new Map(waiting.map(([key]) => [key.slice(3), key.slice(3)]));
}

function storeFolder(): string {
  const { command } = processesOf(state).find((found) => MANAGERS.test(found.command)) ?? { command: "" };
  const text = readFileSync(MANAGERS.exec(command)?.[1] ?? "", "utf8");
  return /path: "?([^"\s}]+)/.exec(text)?.[1] ?? "";
}

function untilPlacing(): Promise<void> {
  return until(
    () => `the site places; ${run.said.slice(-1_500)}`,
    async () => {
      const site = await run.client().site();
      return site.ok && site.value.reconciled;
    },
    30_000,
  );
}

beforeAll(async () => {
  run = await FederationRun.up(state, ["--hosts", "2", "--loopback", "42"]);
});

afterAll(async () => {
  run.signal("SIGCONT");
  await run.clear();
  expect(tracesOf(state, LOOPBACKS)).toEqual([]);
});

describe("a site that is put back from a backup taken under load", () => {
  it("P1: H3: H5: gives every VM one outcome, stops and doubles none, and takes in what the backup does not know", async () => {
    const [kept = "", paused = "", ended = ""] = await create("kept", 3);
    const [large = ""] = await create("large", 1, { ...SPEC, vcpus: 400 });
    await untilPhase([kept, paused, ended], "running");

    const calm = load();
    const backup = await muster(["backup", file, "--state", state, "--site", "alpha"]);
    expect(backup).toMatchObject({ code: 0, stdout: "" });
    expect(backup.stderr).toMatch(/alpha\.backup: \d+ records of alpha\.test as of .*, term \d+, sha256 [0-9a-f]{64}/);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, "utf8")).not.toMatch(/PRIVATE KEY|"(secret|token|password)"/);
    await calm();

    const since = await create("since", 2);
    await untilPhase(since, "running");
    await run.client().deleteVm(ended);
    await run.client().actOnVm(paused, "suspend");
    await untilPhase([ended], "deleted");
    await untilPhase([paused], "paused");
    const all = await run.client().vms({ final: "false" });
    await untilPhase(
      all.ok ? all.value.filter(({ id }) => id !== large && id !== paused).map(({ id }) => id) : [],
      "running",
    );
    const before = await run.client().site();

    const [config = ""] = stopManagers();
    expect(existsSync(config)).toBe(true);
    const domains = await runningDomains(state, "alpha");
    const restored = await muster(["restore", file, "--config", config, "--yes"]);
    expect(restored.stderr).toMatch(/records are in place; the site goes on above term \d{4}/);
    expect(restored.code).toBe(0);
    run.signal("SIGCONT");
    await until(
      () => `the restored site places again; ${run.said.slice(-1_500)}`,
      async () => {
        const site = await run.client().site();
        return site.ok && site.value.reconciled && site.value.term > (before.ok ? before.value.term : 0) + 500;
      },
      30_000,
    );

    // What ran runs on, each where it ran; nothing else is begun but what waited for its place when the backup was taken.
    await until("everything has its place", async () => {
      const open = await run.client().vms({ final: "false" });
      return open.ok && open.value.every(({ id, phase }) => id === large || phase === "running" || phase === "paused");
    });
    const found = await runningDomains(state, "alpha");
    for (const [vm, hosts] of domains) expect(found.get(vm)).toEqual(hosts);
    const waiting = waitingIn(file);
    for (const [vm, hosts] of found) if (!domains.has(vm)) expect([vm, hosts.length]).toEqual([waiting.get(vm), 1]);
    const store = await run.client().store();
    expect(store).toMatchObject({
      value: { newerTerms: [], strays: [], restore: { state: "settled", waitingFor: [] } },
    });
    const now = await run.client().vms({ final: "false" });
    const running = now.ok ? now.value.filter(({ phase }) => phase === "running").map(({ id }) => id) : [];
    expect(new Set(running)).toEqual(new Set(found.keys()));
    for (const id of since) expect(running).toContain(id);
    expect(await run.client().vm(paused)).toMatchObject({ value: { phase: "paused", wanted: "paused" } });
    expect(await run.client().vm(large)).toMatchObject({ value: { phase: "queued" } });
    expect(await run.client().vm(ended)).toMatchObject({
      value: { phase: "deleted", reason: expect.stringMatching(/ended after the backup of/) },
    });

    // B1: a request that the backup does not know is answered with what runs of it.
    expect([...(await create("since", 2))].sort()).toEqual([...since].sort());
    const [fresh = ""] = await create("fresh");
    await untilPhase([fresh], "running");
    const doctor = await muster(["doctor", "--state", state, "--site", "alpha"]);
    expect(doctor.stdout).toMatch(/store +ok +in use under term \d{4}/);
  });

  it("H1: names a store that went back behind its hosts' terms, places nothing, and is repaired by the command it names", async () => {
    const [store = "", copy] = [storeFolder(), join(state, "copy")];
    const ended = (await create("copied"))[0] ?? "";
    await untilPhase([ended], "running");
    const [config = ""] = stopManagers();
    cpSync(store, copy, { recursive: true });
    run.signal("SIGCONT");
    await untilPlacing();
    const [since = ""] = await create("after-copy");
    await untilPhase([since], "running");
    await run.client().deleteVm(ended);
    await untilPhase([ended], "deleted");
    const domains = await runningDomains(state, "alpha");

    stopManagers();
    rmSync(store, { recursive: true });
    cpSync(copy, store, { recursive: true });
    run.signal("SIGCONT");
    await until(
      () => `hosts that know a higher term; ${run.said.slice(-1_500)}`,
      async () => {
        const told = await run.client().store();
        return told.ok && told.value.newerTerms.length === 2;
      },
      30_000,
    );
    const [waiting = ""] = await create("waiting");
    const doctor = await muster(["doctor", "--state", state, "--site", "alpha"]);
    expect(doctor.code).toBe(1);
    const [, above = ""] = /muster restore --in-place --above (\d+)/.exec(doctor.stdout) ?? [];
    expect(Number(above)).toBeGreaterThan(0);
    expect(await run.client().vm(waiting)).toMatchObject({ value: { phase: "queued" } });
    expect(await runningDomains(state, "alpha")).toEqual(domains);

    stopManagers();
    const repaired = await muster(["restore", "--in-place", "--above", above, "--config", config, "--yes"]);
    expect(repaired).toMatchObject({ code: 0, stderr: expect.stringMatching(/records are in place/) });
    run.signal("SIGCONT");
    await untilPlacing();
    await untilPhase([waiting, since], "running");
    const now = await runningDomains(state, "alpha");
    for (const [vm, hosts] of domains) expect(now.get(vm)).toEqual(hosts);
    expect([...now.keys()].filter((vm) => !domains.has(vm))).toEqual([waiting]);
    expect(await run.client().vm(ended)).toMatchObject({ value: { phase: "deleted" } });
  });
});
