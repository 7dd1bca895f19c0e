import { spawnSync } from "node:child_process";
import { constants, existsSync, readFileSync } from "node:fs";
import { chmod, chown, copyFile, cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Libvirt } from "../libvirt.ts";
import { eventually, rejection } from "../testing/eventually.ts";
import { testDomainXml } from "../testing/private-daemon.ts";
import { type EmbeddedDaemonOptions, startEmbeddedDaemon } from "./embedded-daemon.ts";
import type { PrivateDaemon } from "./private-daemon.ts";

const uuid = "7d1fdb20-3b0f-4e3b-9d8c-0c6a7f6d2a11";
const entry = new URL("./embedded-daemon.ts", import.meta.url);
const NOBODY = 65_534;
const nodeArgs = ["--input-type=module", "-e"];
let root: string;
const daemons: PrivateDaemon[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "nlv-d-"));
});

afterEach(async () => {
  await Promise.all(daemons.splice(0).map((daemon) => daemon.stop()));
  await rm(root, { recursive: true, force: true });
});

async function start(name: string, options: Partial<EmbeddedDaemonOptions> = {}): Promise<PrivateDaemon> {
  const daemon = await startEmbeddedDaemon({ stateDir: join(root, name), stopTimeoutMs: 1_000, ...options });
  daemons.push(daemon);
  return daemon;
}

/** Whether the process runs. One that has ended may wait long for an adoptive parent to take note of it (state Z). */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function program(name: string, script: string): Promise<string> {
  const path = join(root, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

describe("private daemons", () => {
  it("run side by side, started at once, and each is a host of its own", async () => {
    const all = await Promise.all(["a", "b", "c", "d"].map((name) => start(name)));
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(4);
    const clients = await Promise.all(all.map(({ socketPath, uri }) => Libvirt.open({ socketPath, uri })));
    await Promise.all(clients.map((client, index) => client.domains.define(testDomainXml(`vm-${index}`, uuid))));
    for (const [index, client] of clients.entries()) {
      expect((await client.domains.list()).map(({ name }) => name).sort()).toEqual(["test", `vm-${index}`]);
    }
    await Promise.all(clients.map((client) => client.close()));
  });

  it("keep their domains when the last client leaves", async () => {
    const { socketPath, uri } = await start("a");
    const first = await Libvirt.open({ socketPath, uri });
    await first.domains.define(testDomainXml("vm", uuid));
    await first.close();
    const second = await Libvirt.open({ socketPath, uri });
    expect(await second.domains.lookupByUuid(uuid)).toMatchObject({ name: "vm" });
    await second.close();
  });

  it("leave neither process nor socket nor pid file when stopped, however often", async () => {
    const daemon = await start("a");
    expect(existsSync(daemon.socketPath)).toBe(true);
    await Promise.all([daemon.stop(), daemon.stop()]);
    await daemon.stop();
    expect(await daemon.exited).toEqual({ code: 0, signal: null });
    expect(isRunning(daemon.pid)).toBe(false);
    expect(await readdir(join(root, "a", "run"))).not.toContain("libvirt-sock");
    expect(await readdir(join(root, "a"))).not.toContain("libvirtd.pid");
  });

  it("are killed where they do not end when asked", async () => {
    const daemon = await start("a", { stopTimeoutMs: 100 });
    process.kill(daemon.pid, "SIGSTOP");
    await daemon.stop();
    expect(await daemon.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  it("tell when somebody else ended them, and start again over what they left", async () => {
    const daemon = await start("a");
    process.kill(daemon.pid, "SIGKILL");
    expect(await daemon.exited).toEqual({ code: null, signal: "SIGKILL" });
    expect(existsSync(daemon.socketPath)).toBe(true);
    const again = await start("a");
    expect(again.pid).not.toBe(daemon.pid);
  });

  it("take the place of one that an earlier run left running in the folder", async () => {
    const left = await start("a");
    const again = await start("a");
    expect(isRunning(left.pid)).toBe(false);
    const client = await Libvirt.open({ socketPath: again.socketPath, uri: again.uri });
    expect(await client.domains.list()).toHaveLength(1);
    await client.close();
  });

  it("leave a process alone that only happens to have the pid in a stale pid file", async () => {
    const other = await start("other");
    const first = await start("a");
    await first.stop();
    await writeFile(join(root, "a", "libvirtd.pid"), String(other.pid));
    await start("a");
    expect(isRunning(other.pid)).toBe(true);
  });

  it("need no privileges", async () => {
    const isRoot = process.getuid?.() === 0;
    // The unprivileged user may not be allowed to look into the folders that Node and the sources lie in.
    const program = join(root, "node");
    await copyFile(process.execPath, program, constants.COPYFILE_FICLONE);
    await cp(new URL("..", import.meta.url), join(root, "src"), { recursive: true });
    const script = `import { startEmbeddedDaemon } from ${JSON.stringify(join(root, "src/daemon/embedded-daemon.ts"))};
      const daemon = await startEmbeddedDaemon({ stateDir: ${JSON.stringify(join(root, "n"))} });
      await daemon.stop();
      process.stdout.write(process.getuid() + " " + JSON.stringify(await daemon.exited));`;
    if (isRoot) await chown(root, NOBODY, NOBODY);
    const options = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
    const run = spawnSync(program, [...nodeArgs, script], { encoding: "utf8", cwd: root, ...options });
    expect(run.stderr).toBe("");
    expect(run.stdout).toBe(`${isRoot ? NOBODY : process.getuid?.()} {"code":0,"signal":null}`);
  });

  it("die with the process that started them", async () => {
    const script = `import { startEmbeddedDaemon } from ${JSON.stringify(entry.href)};
      const { pid } = await startEmbeddedDaemon({ stateDir: ${JSON.stringify(join(root, "orphan"))} });
      process.stdout.write(String(pid));
      process.kill(process.pid, "SIGKILL");`;
    const run = spawnSync(process.execPath, [...nodeArgs, script], { encoding: "utf8" });
    const pid = Number(run.stdout);
    expect(pid).toBeGreaterThan(1);
    await eventually("the daemon is gone", () => !isRunning(pid));
  });
});

describe("private daemons that cannot start", () => {
  it("say what to install where libvirtd is missing", async () => {
    const fault = await rejection(start("a", { libvirtdPath: "/nonexistent/libvirtd" }));
    expect(fault).toMatchObject({ kind: "daemon" });
    expect(String(fault)).toContain("apt-get install --no-install-recommends libvirt-daemon");
  });

  it("say that the folder's path is too long for a socket", async () => {
    const fault = await rejection(start("x".repeat(100)));
    expect(fault).toMatchObject({ kind: "argument", field: "socketPath" });
  });

  it("quote what the program wrote where it ends at once", async () => {
    const libvirtdPath = await program("broken", "echo 'cannot read the stars' >&2; exit 3");
    const fault = await rejection(start("a", { libvirtdPath }));
    expect(String(fault)).toContain("ended at once (exit code 3)");
    expect(String(fault)).toContain("cannot read the stars");
  });

  it("are stopped where they do not answer in time", async () => {
    const libvirtdPath = await program("silent", "echo $$ > pid; exec sleep 60");
    const fault = await rejection(start("a", { libvirtdPath, startTimeoutMs: 150 }));
    expect(String(fault)).toContain("did not answer within 150 ms");
    const run = spawnSync("cat", [join(root, "a", "pid")], { encoding: "utf8" });
    expect(isRunning(Number(run.stdout))).toBe(false);
  });
});
