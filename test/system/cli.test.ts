import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { type Ended, FederationRun, finished, muster, newStateFolder } from "./federation-run.ts";
import { processOf, tracesOf } from "./traces.ts";
import { until } from "./until.ts";

const CHECKOUT = join(import.meta.dirname, "..", "..");
const CREATE = ["vm", "create", "--image", "debian-12", "--cpus", "2", "--memory", "512MiB"];
let run: FederationRun;

/** One command against the running federation. */
function say(...args: readonly string[]): Promise<Ended> {
  return muster(["--state", run.state, ...args]);
}

beforeAll(async () => {
  run = await FederationRun.up(newStateFolder(), ["--hosts", "2", "--loopback", "66"]);
});

afterAll(async () => {
  await run.clear();
  expect(tracesOf(run.state, [66, 67])).toEqual([]);
});

describe("formats", () => {
  it("prints data alone on stdout, in each format, and messages on stderr", async () => {
    const created = await say(...CREATE, "--name", "web", "--wait");
    expect(created.code).toBe(0);
    expect(created.stderr).toMatch(/request \S+ accepted in term 1/);
    expect(created.stdout).toMatch(/^NAME +PHASE +PLACE .*\nweb +running +host[12] +2 +512 /);
    const json = await say("vm", "list", "--format", "json");
    expect(JSON.parse(json.stdout)).toMatchObject([{ name: "web", phase: "running", spec: { vcpus: 2 } }]);
    expect(json.stderr).toBe("");
    const yaml = await say("vm", "list", "--format", "yaml");
    expect(parseYaml(yaml.stdout)).toEqual(JSON.parse(json.stdout));
    const csv = await say("vm", "list", "--format", "csv");
    expect(csv.stdout).toMatch(
      /^NAME,PHASE,PLACE,ADDRESS,VCPUS,MEMORY MIB,PROJECT,ID\nweb,running,host[12],-,2,512,default,[0-9a-f-]{36}\n$/,
    );
    const created2 = await say(...CREATE, "--name", "quiet", "--wait", "--format", "json");
    expect(JSON.parse(created2.stdout)).toHaveLength(1);
  });

  it.each([
    ["site", "show"],
    ["host", "list"],
    ["host", "show", "host1"],
    ["vm", "show", "web"],
    ["peer", "list"],
    ["lease", "list"],
    ["doctor"],
  ])("muster %s %s speaks to machines", async (...args) => {
    const [json, csv] = await Promise.all(["json", "csv"].map((format) => say(...args, "--format", format)));
    expect(json?.code, json?.stderr).toBe(0);
    expect(JSON.parse(json?.stdout ?? "")).toBeTypeOf("object");
    expect(csv?.stdout).toMatch(/^[^\n]+\n/);
  });

  it("streams events as lines, documents and rows", async () => {
    const [json, yaml, csv, table] = await Promise.all(
      ["json", "yaml", "csv", "table"].map((format) => say("events", "--format", format)),
    );
    const events = (json?.stdout ?? "")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events).toContainEqual(
      expect.objectContaining({ kind: "vm", message: expect.stringMatching(/web is running/) }),
    );
    expect(yaml?.stdout).toMatch(/---\nid: \d+\n/);
    expect(csv?.stdout).toMatch(/^\d{4}-[^,]+,(?:site|host),[^\n]+\n/);
    expect(table?.stdout).toMatch(/ vm \S+: web is running/);
  });

  it("puts no colour into a pipe, with and without NO_COLOR", async () => {
    for (const env of [{}, { NO_COLOR: "1" }]) {
      const { stdout } = await muster(["--state", run.state, "host", "list"], env);
      expect(stdout).toMatch(/host1/);
      expect(stdout).not.toContain("\u001b");
    }
  });
});

describe("exit codes", () => {
  it.each([
    [0, ["--help"], /^$/],
    [1, [...CREATE, "--name", "bad", "--cpus", "0"], /spec\.vcpus: must be at least 1/],
    [1, [...CREATE, "--name", "bad", "--memory", "0.3GiB"], /spec\.memoryMiB: must be a whole number/],
    [1, [...CREATE, "--name", "bad", "--image", "nothing"], /no image nothing/],
    [2, ["vm", "create", "--name", "x"], /--image/],
    [2, ["vm", "lst"], /unknown command|lst/],
    [2, ["vm", "list", "--format", "xml"], /table, json, yaml, csv/],
    [2, [...CREATE, "--name", "x", "--memory", "5toString"], /expected a size/],
    [2, [...CREATE, "--name", "x", "--label", "zone"], /key=value/],
    [2, ["--api", "ftp://127.0.0.1", "vm", "list"], /--api/],
    [3, ["vm", "show", "nobody"], /no vm nobody/],
    [3, ["vm", "why", "nobody"], /nobody/],
    [3, ["peer", "show", "nobody.test"], /no peer nobody.test/],
    [3, ["lease", "show", "nobody"], /no lease/],
    [3, ["--site", "gamma", "vm", "list"], /no site "gamma" here; there are: alpha, beta/],
  ])("%i for muster %j", async (code, args, message) => {
    const ended = await say(...args);
    expect(ended.stderr).toMatch(message);
    expect(ended.code).toBe(code);
    if (code !== 0) expect(ended.stdout).toBe("");
  });

  it("4 with a token that the site does not know, and where none can be read", async () => {
    const file = join(run.state, "wrong-token");
    writeFileSync(file, "wrong\n", { mode: 0o600 });
    const wrong = await say("--token-file", file, "vm", "list");
    expect(wrong.stderr).toMatch(/token is not known/);
    expect(wrong.code).toBe(4);
    const none = await say("--token-file", `${file}.none`, "vm", "list");
    expect(none.code).toBe(4);
    rmSync(file);
  });

  it("5 where no manager answers, and where there is no federation", async () => {
    const nobody = await muster(["--api", "http://127.0.66.99:9", "vm", "list"], { MUSTER_TOKEN: "x" });
    expect(nobody.stderr).toMatch(/no answer from http:\/\/127\.0\.66\.99:9.*is the site running\?/);
    expect(nobody.code).toBe(5);
    const empty = await muster(["--state", `${run.state}/none`, "vm", "list"]);
    expect(empty.stderr).toMatch(/no federation in .*muster up/);
    expect(empty.code).toBe(5);
  });

  it("6 when what is waited for does not come in time, saying what it waits for", async () => {
    const startedMs = performance.now();
    const ended = await say(...CREATE, "--name", "giant", "--cpus", "64", "--wait=1s");
    expect(ended.stderr).toMatch(/still waiting: 1 queued \(.*\)/);
    expect(ended.code).toBe(6);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    const gone = await say("vm", "delete", "giant", "--yes", "--wait");
    expect(gone.code).toBe(0);
    expect(gone.stdout).toMatch(/giant +cancelled|giant +deleted/);
  });
});

describe("asking and waiting", () => {
  it("--dry-run explains every host and places nothing", async () => {
    const ended = await say(...CREATE, "--name", "dry", "--dry-run");
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/host host1 +(?:chosen|possible)/);
    expect(ended.stdout).toMatch(/host host2 +(?:chosen|possible)/);
    const shown = await say("vm", "show", "dry");
    expect(shown.code).toBe(3);
  });

  it("why says what keeps a VM waiting, host by host", async () => {
    await say(...CREATE, "--name", "giant", "--cpus", "64");
    for (const noun of ["vm", "queue"]) {
      const why = await say(noun, "why", "giant");
      expect(why.stdout).toMatch(/host host1 +refused +- +.*64/);
      expect(why.code).toBe(0);
    }
    const queue = await say("queue", "list", "--format", "json");
    expect(JSON.parse(queue.stdout)).toMatchObject([{ name: "giant", position: 1 }]);
    expect((await say("vm", "delete", "giant", "--yes")).code).toBe(0);
  });

  it("asks nothing where there is no terminal: --yes is needed, and nothing is done without", async () => {
    const asked = await say("vm", "delete", "web");
    expect(asked.stderr).toMatch(/Delete web\? Say --yes/);
    expect(asked.code).toBe(2);
    expect((await say("vm", "show", "web", "--format", "json")).stdout).toContain('"running"');
    const fence = await say("host", "fence", "host1");
    expect(fence.code).toBe(2);
    const remove = await say("host", "remove", "host1");
    expect(remove.code).toBe(2);
  });

  it("asks on a terminal, and takes no for an answer", async () => {
    const command = `${join(CHECKOUT, "muster")} --state ${run.state} vm delete web`;
    const terminal = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], { stdio: "pipe" });
    const ended = finished(terminal);
    let drawn = "";
    terminal.stdout.on("data", (chunk) => {
      drawn += chunk;
    });
    await until(
      () => `a question in ${drawn}`,
      () => /Delete web\? \[y\/N\]/.test(drawn),
    );
    terminal.stdin.write("n\n");
    const { code } = await ended;
    expect(drawn).toMatch(/nothing was done/);
    expect(code).toBe(1);
    expect((await say("vm", "show", "web", "--format", "json")).stdout).toContain('"running"');
  });

  it("stops, starts and deletes, each waited for", async () => {
    const stop = await say("vm", "stop", "web", "--wait");
    expect(stop.stdout).toMatch(/web +stopped/);
    const start = await say("vm", "start", "web", "--wait=20s");
    expect(start.stdout).toMatch(/web +running/);
    const ended = await say("vm", "delete", "web", "quiet", "--yes", "--wait");
    expect(ended.stdout).toMatch(/web +deleted.*quiet +deleted/s);
  });

  it("B1: the same request id again is the same request; with other content it is refused", async () => {
    const first = await say(...CREATE, "--name", "once", "--request-id", "req-once", "--format", "json");
    const again = await say(...CREATE, "--name", "once", "--request-id", "req-once", "--format", "json");
    expect(JSON.parse(again.stdout)[0].id).toBe(JSON.parse(first.stdout)[0].id);
    const other = await say(...CREATE, "--name", "other", "--request-id", "req-once");
    expect(other.stderr).toMatch(/stands for another request/);
    expect(other.code).toBe(1);
    await say("vm", "delete", "once", "--yes", "--wait");
  });

  it("ends quietly when its reader has seen enough", async () => {
    const shell = `${join(CHECKOUT, "muster")} --state ${run.state} events --follow | head -n 1; exit \${PIPESTATUS[0]}`;
    const child = spawn("bash", ["-c", shell], { stdio: ["ignore", "pipe", "pipe"] });
    const ended = finished(child);
    // Something must happen for the pipe to be noticed as closed.
    const hosts = setInterval(() => void run.client().drainHost("host2", true), 500);
    const { code, stdout, stderr } = await ended;
    clearInterval(hosts);
    await run.client().drainHost("host2", false);
    expect(stdout.split("\n")).toHaveLength(2);
    expect(stderr).toBe("");
    expect(code).toBe(0);
  });
});

describe("doctor", () => {
  it("finds everything well on a running federation", async () => {
    const ended = await say("doctor");
    for (const check of [
      "node",
      "prosody",
      "libvirtd",
      "xmpp login",
      "api",
      "component",
      "clock",
      "host host1",
      "peer beta.test",
    ])
      expect(ended.stdout).toMatch(new RegExp(`^${check} +ok`, "m"));
    expect(ended.stdout).not.toMatch(/ (?:fail|warn) /);
    expect(ended.code).toBe(0);
  });

  it("names a part that is down, with the remedy", async () => {
    run.signal("SIGSTOP");
    try {
      process.kill(processOf(run.state, /host-manager\/src\/main\.ts --config \S+\/alpha\/host1\//).pid, "SIGKILL");
      process.kill(processOf(run.state, /prosody --config \S+\/beta\//).pid, "SIGKILL");
      await until("host1 is lost", async () => {
        const host = await run.client().host("host1");
        return host.ok && host.value.liveness === "lost";
      });
      const alpha = await say("doctor");
      expect(alpha.stdout).toMatch(/^host host1 +fail +is lost +.*host manager running/m);
      expect(alpha.stderr).toMatch(/1 of \d+ checks failed/);
      expect(alpha.code).toBe(1);
      const beta = await say("--site", "beta", "doctor");
      expect(beta.stdout).toMatch(/^xmpp login +fail .*is the XMPP server up\?/m);
      expect(beta.stdout).toMatch(/^component +fail .*is the XMPP server up/m);
      expect(beta.code).toBe(1);
    } finally {
      run.signal("SIGCONT");
    }
    const nowhere = await muster(["--state", `${run.state}/none`, "doctor"]);
    expect(nowhere.stdout).toMatch(/^site +fail .*muster up/m);
    expect(nowhere.code).toBe(1);
  });
});
