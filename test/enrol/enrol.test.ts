import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { DEFAULT_WISH, Federation, planFederation, type SiteRun } from "@muster/federation";
import { decodeJoinBundle, encodeJoinBundle, enrolmentSchema, type JoinBundle } from "@muster/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ended, muster, newStateFolder } from "../system/federation-run.ts";
import { processesOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { JoiningHost } from "./joining-host.ts";

const LOOPBACK = 91;
const API = `http://127.0.${LOOPBACK}.1:8080`;
const MACHINE = ["--cpus", "4", "--memory", "16GiB", "--disk", "100GiB", "--image", "debian-12"];
const SIMULATED = ["--hypervisor", "simulated"];
const joining: JoiningHost[] = [];
let state: string;
let federation: Federation;
let site: SiteRun;

beforeAll(async () => {
  state = newStateFolder();
  const plan = planFederation({ ...DEFAULT_WISH, sites: 1, hostsPerSite: 1, loopback: LOOPBACK });
  if (!plan.ok) throw new Error(plan.error);
  const started = await Federation.start({
    plan: plan.value,
    stateRoot: join(state, "f"),
    fresh: false,
    clock: systemClock,
    rng: systemRng,
    progress: () => {},
    onFatal: () => {},
    signal: new AbortController().signal,
  });
  if (!started.ok) throw new Error(started.error);
  federation = started.value;
  const [first] = federation.sites;
  if (first === undefined) throw new Error("no site");
  site = first;
});
afterAll(async () => {
  await Promise.all(joining.map((host) => host.stop()));
  await federation?.stop();
  const left = processesOf(state);
  rmSync(state, { recursive: true, force: true });
  expect(left).toEqual([]);
});

const admin = (...words: string[]): Promise<Ended> => muster(["--state", join(state, "f"), ...words]);

async function enrol(name: string): Promise<string> {
  const { code, stdout } = await admin("host", "enrol", name);
  expect(code).toBe(0);
  return stdout;
}

function joinBy(command: string, folder: string, ...options: string[]): JoiningHost {
  const host = new JoiningHost(command, ["--state", join(state, folder), ...MACHINE, ...options]);
  joining.push(host);
  return host;
}

function bundleIn(command: string): JoinBundle {
  const bundle = decodeJoinBundle(command.trim().split(" ").at(-1) ?? "");
  if (!bundle.ok) throw new Error("no bundle");
  return bundle.value;
}

const accountOf = (name: string): string =>
  join(state, "f", "alpha", "xmpp", "data", "alpha%2etest", "accounts", `host%2d${name}.dat`);

async function livenessOf(name: string): Promise<string | undefined> {
  const hosts = await site.client.hosts();
  return hosts.ok ? hosts.value.find((host) => host.name === name)?.liveness : undefined;
}

/** A refused join: clear message, exit code 4, and neither account nor folder. */
async function expectRefused(host: JoiningHost, folder: string, account: string): Promise<void> {
  const { code, stderr } = await host.ended;
  expect({ code, stderr }).toMatchObject({
    code: 4,
    stderr: expect.stringContaining("ask for a new one with: muster"),
  });
  expect(existsSync(join(state, folder))).toBe(false);
  expect(existsSync(accountOf(account))).toBe(false);
}

describe("a new host", () => {
  it("joins by the one command, is alive, runs a VM, is drained and removed", async () => {
    const command = await enrol("new1");
    expect(command).toMatch(/^muster host join [A-Za-z0-9_-]+\n$/);
    const host = joinBy(command, "n1", "--embedded", "--label", "rack=new");
    await until(
      () => `new1 to be alive: ${host.output}`,
      async () => (await livenessOf("new1")) === "alive",
    );
    const folder = join(state, "n1");
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const name of ["host.yaml", "ca.crt", "enrol-token", "password"])
      expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600);
    const listed = await admin("host", "list");
    // The test driver comes with a domain of its own, foreign to us, of 2 vCPUs and 8 GiB.
    expect(listed.stdout).toMatch(/^new1 +alive +accepting +2\/2 +8192\/8192 +0 +1 +libvirt/m);

    const wish = ["--name", "web", "--image", "debian-12", "--cpus", "1", "--memory", "1GiB", "--label", "rack=new"];
    expect(await admin("vm", "create", ...wish, "--wait=20s")).toMatchObject({ code: 0 });
    expect(await site.client.vm("web")).toMatchObject({
      value: { phase: "running", place: { kind: "host", host: "new1" } },
    });

    expect(await admin("host", "remove", "new1", "--yes")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("new1 has 1 VMs"),
    });
    expect(await admin("host", "drain", "new1")).toMatchObject({ code: 0 });
    const second = ["vm", "create", ...wish.with(1, "second")];
    expect(await admin(...second)).toMatchObject({ code: 0 });
    await until("the drained host to be named as the reason", async () =>
      JSON.stringify(await site.client.why("second")).includes("drain"),
    );
    for (const name of ["web", "second"]) expect(await admin("vm", "delete", name, "--yes")).toMatchObject({ code: 0 });
    await until("the VM to be gone", async () => {
      const gone = await site.client.host("new1");
      return gone.ok && gone.value.vms === 0;
    });
    expect(existsSync(accountOf("new1"))).toBe(true);
    expect(await admin("host", "remove", "new1", "--yes")).toMatchObject({ code: 0 });
    expect(await admin("host", "show", "new1")).toMatchObject({ code: 3 });
    await until("the account to be gone", () => !existsSync(accountOf("new1")));
    expect((await host.ended).code).toBe(1);
    expect(host.output).not.toContain(bundleIn(command).token);
  });

  it("stops by Ctrl-C and comes back by the same command, for the token was its own", async () => {
    const command = await enrol("new2");
    const first = joinBy(command, "n2", ...SIMULATED);
    await until(
      () => `new2 to be alive: ${first.output}`,
      async () => (await livenessOf("new2")) === "alive",
    );
    expect(await first.stop()).toMatchObject({ code: 0 });
    const password = readFileSync(join(state, "n2", "password"), "utf8");
    const again = joinBy(command, "n2", ...SIMULATED);
    await until(
      () => `new2 to be back: ${again.output}`,
      () => again.output.includes('"msg":"online"'),
    );
    expect(readFileSync(join(state, "n2", "password"), "utf8")).toBe(password);

    await expectRefusedBesides(command);
    expect(await again.stop()).toMatchObject({ code: 0 });
  });

  it("is written but not started with --no-start", async () => {
    const command = await enrol("new3");
    const { code, stdout } = await joinBy(command, "n3", "--no-start").ended;
    expect(code).toBe(0);
    expect(stdout).toContain(`--config ${join(state, "n3", "host.yaml")}`);
    expect(readdirSync(join(state, "n3")).sort()).toEqual(["ca.crt", "enrol-token", "host.yaml"]);
    expect(await livenessOf("new3")).toBe("unknown");
  });
});

/** A used token from another folder, that is, another machine: refused, and the rightful host is not disturbed. */
async function expectRefusedBesides(command: string): Promise<void> {
  const { code, stderr } = await joinBy(command, "thief", ...SIMULATED).ended;
  expect({ code, stderr }).toMatchObject({ code: 4, stderr: expect.stringContaining("the token was used") });
  expect(existsSync(join(state, "thief"))).toBe(false);
  expect(existsSync(accountOf("new2"))).toBe(true);
}

describe("a host is refused", () => {
  it("under another name than its token is for", async () => {
    const bundle = bundleIn(await enrol("right"));
    const command = `muster host join ${encodeJoinBundle({ ...bundle, name: "wrong" })}`;
    await expectRefused(joinBy(command, "wr", ...SIMULATED), "wr", "wrong");
    expect(existsSync(accountOf("right"))).toBe(false);
  });

  it("with a token that has expired", async () => {
    const token = readFileSync(join(state, "f", "alpha", "secrets", "admin-token"), "utf8").trim();
    const reply = await fetch(`${API}/v1/hosts`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "late", ttlSeconds: 1 }),
    });
    const { command } = enrolmentSchema.parse(await reply.json());
    // The server counts in whole seconds.
    const expiredAtMs = systemClock.nowMs() + 2_100;
    await until("the token to expire", () => systemClock.nowMs() > expiredAtMs);
    await expectRefused(joinBy(command, "la", ...SIMULATED), "la", "late");
  });

  it("with a token that a newer one replaced", async () => {
    const old = await enrol("twice");
    await enrol("twice");
    await expectRefused(joinBy(old, "tw", ...SIMULATED), "tw", "twice");
  });

  it("when it has an account already, and when its name is none", async () => {
    expect(await admin("host", "enrol", "host1")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("remove the host first"),
    });
    expect(await admin("host", "enrol", "No Such Name")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("name: must be"),
    });
  });
});
