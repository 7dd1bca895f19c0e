import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock, systemRng } from "@muster/base";
import { commandMessage, refusalMessage } from "@muster/protocol";
import { type Bus, xmppClientBus } from "@muster/xmpp";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import type { HostConfigInput } from "./config.ts";
import { command, subject, vmId } from "./testing/fixture.ts";
import { TestLeader } from "./testing/leader.ts";
import { PASSWORD, type RealSite, realSite } from "./testing/real-site.ts";
import { until } from "./testing/until.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const TIMEOUT_MS = 40_000;

/** The program as it is run in production, with its output. */
class Program {
  readonly child: ChildProcess;
  output = "";

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, ["--conditions=muster-source", MAIN, ...args]);
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
  }

  get exitCode(): number | null {
    return this.child.exitCode;
  }

  ended(): Promise<number> {
    return until(`the program to end; it wrote: ${this.output}`, () => this.exitCode ?? undefined, 20_000);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.exitCode !== null || this.child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill(signal);
    await exited;
  }
}

let site: RealSite;
let component: Bus;
let leader: TestLeader;
let programs: Program[];
let folder: string;
let run = 0;

beforeAll(async () => {
  site = await realSite("hosts.test", "127.0.51.1", ["host-h1", "host-h2"]);
}, TIMEOUT_MS);
afterAll(() => site.close());

beforeEach(async () => {
  run += 1;
  folder = join(site.folder, `run-${run}`);
  mkdirSync(folder);
  writeFileSync(join(folder, "password"), `${PASSWORD}\n`, { mode: 0o600 });
  programs = [];
  component = site.component();
  leader = new TestLeader(component);
  component.start();
  await until("the leader's component", () => component.status.kind === "online");
});
afterEach(async () => {
  await Promise.all(programs.map((program) => program.end("SIGKILL")));
  await component.stop();
});

function config(more: Partial<HostConfigInput> = {}): HostConfigInput {
  return {
    site: site.domain,
    name: "h1",
    state: join(folder, "state"),
    xmpp: { service: site.service, passwordFile: join(folder, "password"), caFile: site.caPath },
    hypervisor: { kind: "libvirt", embedded: join(folder, "lv") },
    total: { vcpus: 8, memoryMiB: 32_768, diskGiB: 100 },
    labels: { region: "eu-south" },
    images: ["debian-12"],
    heartbeatMs: 200,
    surveyMs: 300,
    ...more,
  };
}

function start(settings: object = config()): Program {
  const path = join(folder, "host.yaml");
  writeFileSync(path, stringify(settings));
  const program = new Program(["--config", path]);
  programs.push(program);
  return program;
}

async function accepting(): Promise<void> {
  leader.capacities.length = 0;
  await until("the host to accept", () => leader.capacity?.condition === "accepting", 20_000);
}

describe("the host manager as a process, over a real XMPP server and a real libvirtd", () => {
  it("reports capacity, starts a VM with its metadata in libvirt, and deletes it", {
    timeout: TIMEOUT_MS,
  }, async () => {
    start();
    await accepting();
    expect(leader.capacity).toMatchObject({
      total: { vcpus: 8 },
      driver: "TEST",
      termObeyed: 0,
      images: ["debian-12"],
    });
    expect(leader.presences.at(-1)?.status).toMatch(/^\d+\/8 vCPU free, 0 VMs, eu-south$/);
    expect(await leader.command(command(1, "start"))).toMatchObject({ state: "starting" });
    await until("the running VM", () => leader.told(vmId(1), "running"));
    const before = leader.capacity?.inventoryDigest;
    expect(await leader.inventory(50)).toMatchObject({ complete: true, vms: [{ vm: vmId(1), state: "running" }] });
    await until("the VM in the capacity", () => leader.capacity?.vms === 1 && leader.capacity.used.vcpus === 1);
    expect(await leader.command(command(2, "delete"))).toMatchObject({ state: "running" });
    await until("the VM to be gone", () => leader.told(vmId(1), "gone"));
    await until("another digest", () => leader.capacity?.inventoryDigest !== before);
    expect(leader.capacity?.heartbeatMs).toBe(200);
  });

  it("killed with SIGKILL comes back with its term, its promises and its answers (H1, H2, H5)", {
    timeout: TIMEOUT_MS,
  }, async () => {
    const first = start();
    await accepting();
    expect(await leader.hello(7)).toMatchObject({ term: 7 });
    expect(await leader.command(command(1, "void", { vm: 3, attempt: 2, term: 7 }))).toMatchObject({ state: "void" });
    const answer = await leader.command(command(2, "start", { vm: 4, term: 7 }));
    await until("the running VM", () => leader.told(vmId(4), "running"));
    await first.end("SIGKILL");
    start();
    await accepting();
    expect(leader.capacity?.termObeyed).toBe(7);
    expect(await leader.hello(6)).toMatchObject({ kind: "stale-term" });
    expect(await leader.command(command(3, "start", { vm: 3, attempt: 2, term: 7 }))).toMatchObject({ state: "void" });
    expect(await leader.command(command(2, "start", { vm: 4, term: 7 }))).toEqual(answer);
    // The private libvirtd ended with the process: what ran is lost, and is told as lost.
    await until("the lost VM", () => leader.told(vmId(4), "failed"));
  });

  it("stops on SIGTERM with a goodbye and exit code 0", { timeout: TIMEOUT_MS }, async () => {
    const program = start();
    await accepting();
    program.child.kill("SIGTERM");
    expect(await program.ended()).toBe(0);
    await until("the goodbye", () => leader.presences.at(-1)?.type === "unavailable");
    const lines = program.output.trim().split("\n");
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ host: "h1", site: site.domain });
    expect(program.output).not.toContain(PASSWORD);
  });

  it("refuses orders of another host's account", { timeout: TIMEOUT_MS }, async () => {
    start();
    await accepting();
    const stranger = xmppClientBus({
      clock: systemClock,
      rng: systemRng,
      service: site.service,
      domain: site.domain,
      username: "host-h2",
      password: PASSWORD,
      resource: "host-manager",
      caPem: site.caPem,
    });
    stranger.start();
    try {
      await until("the stranger to be online", () => stranger.status.kind === "online");
      const payload = commandMessage.encode(command(1, "start"));
      const answer = await stranger.request({ to: leader.host, type: "set", payload, timeoutMs: 5_000 });
      if (answer.kind !== "error") throw new Error(`answered ${answer.kind}`);
      expect(answer.fault.condition).toBe("forbidden");
      expect(answer.fault.application && refusalMessage.decode(answer.fault.application)).toMatchObject({
        value: { kind: "forbidden", reason: "not-the-leader" },
      });
      expect(await leader.inventory(50)).toMatchObject({ vms: [] });
    } finally {
      await stranger.stop();
    }
  });

  it("enrols with a token, choosing its own password", { timeout: TIMEOUT_MS }, async () => {
    const passwordFile = join(folder, "own-password");
    const tokenFile = join(folder, "token");
    const minted = await site.server.enrolmentToken("host-h3", 600);
    if (!minted.ok) throw new Error(minted.error.kind);
    writeFileSync(tokenFile, minted.value.token);
    start(
      config({
        name: "h3",
        xmpp: { service: site.service, passwordFile, caFile: site.caPath, enrolTokenFile: tokenFile },
        hypervisor: { kind: "simulated" },
      }),
    );
    await accepting();
    expect(leader.host).toMatch(/^host-h3@/);
    expect(readFileSync(passwordFile, "utf8").length).toBeGreaterThan(20);
  });

  it("with a token that is not its own: exit 4, and the log says so without the token", {
    timeout: TIMEOUT_MS,
  }, async () => {
    const minted = await site.server.enrolmentToken("host-other", 600);
    if (!minted.ok) throw new Error(minted.error.kind);
    const enrolTokenFile = join(folder, "token");
    writeFileSync(enrolTokenFile, minted.value.token);
    const xmpp = {
      service: site.service,
      passwordFile: join(folder, "own-password"),
      caFile: site.caPath,
      enrolTokenFile,
    };
    const program = start(config({ name: "h4", xmpp, hypervisor: { kind: "simulated" } }));
    expect(await program.ended()).toBe(4);
    expect(program.output).toContain("refused to enrol host-h4");
    expect(program.output).not.toContain(minted.value.token);
  });

  it("with a password the server does not take: exit 5, and the log says so without the password", {
    timeout: TIMEOUT_MS,
  }, async () => {
    writeFileSync(join(folder, "password"), "not the password");
    const program = start(config({ hypervisor: { kind: "simulated" } }));
    expect(await program.ended()).toBe(5);
    expect(program.output).toContain("not-authorized");
    expect(program.output).not.toContain("not the password");
  });

  it("a full host is busy: it refuses and never starts what it refused (H4, H5)", { timeout: TIMEOUT_MS }, async () => {
    start(config({ hypervisor: { kind: "simulated" } }));
    await accepting();
    const big = subject({ size: { memoryMiB: 1_048_576 } });
    const wish = { subject: big };
    expect(await leader.command(command(1, "start", wish))).toMatchObject({
      kind: "resource-constraint",
      reason: "no-capacity",
    });
    expect(await leader.command(command(2, "start"))).toMatchObject({ state: "void" });
  });
});

describe("the command line of the host manager", () => {
  it.each([
    ["no configuration named", [], /usage: main\.ts --config FILE/],
    ["a file that is not there", ["--config", "/nonexistent.yaml"], /does not exist/],
  ])("%s: exit 2 and what to do", { timeout: TIMEOUT_MS }, async (_, args, message) => {
    const program = new Program(args);
    programs.push(program);
    expect(await program.ended()).toBe(2);
    expect(program.output).toMatch(message);
  });

  it.each<[string, object, RegExp]>([
    ["an unknown key", { heartbeatMS: 5 }, /heartbeatMS: unknown key; did you mean "heartbeatMs"\?/],
    [
      "a password file that is not there",
      { xmpp: { service: "xmpps://127.0.51.1:5223", passwordFile: "/nonexistent" } },
      /nonexistent does not exist/,
    ],
    [
      "a service without TLS",
      { xmpp: { service: "xmpp://127.0.51.1", passwordFile: "/x" } },
      /xmpp\.service: must be xmpps/,
    ],
  ])("%s: exit 2, and the message names the field", { timeout: TIMEOUT_MS }, async (_, wrong, message) => {
    const program = start({ ...config(), ...wrong });
    expect(await program.ended()).toBe(2);
    expect(program.output).toMatch(message);
  });

  it("a second host manager over one state folder ends with exit code 1 and says why", {
    timeout: TIMEOUT_MS,
  }, async () => {
    start(config({ hypervisor: { kind: "simulated" } }));
    await accepting();
    const second = start(config({ hypervisor: { kind: "simulated" } }));
    expect(await second.ended()).toBe(1);
    expect(second.output).toContain("another host manager uses the journal");
  });
});
