import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeServerFault, type EjabberdServer, ejabberdFiles, findRunAs } from "./index.ts";
import { ejabberdIsMissing } from "./testing/ejabberd-present.ts";
import { must, SECRET, type TestSite, TestSites } from "./testing/test-sites.ts";

let sites: TestSites;
let alpha: TestSite<EjabberdServer>;

const missing = ejabberdIsMissing();

describe.skipIf(missing !== undefined)(`a process of ejabberd${missing ?? ""}`, () => {
  beforeAll(async () => {
    sites = await TestSites.create();
    alpha = await sites.ejabberd("alpha.test", "127.45.11.1", { accounts: [{ name: "ann", password: SECRET }] });
    await alpha.start();
  }, 60_000);
  afterAll(() => sites.close());

  it("runs unprivileged, keeps its secrets to itself, and has the accounts it was given", async () => {
    const runAs = must(await findRunAs("ejabberd"));
    const status = await readFile(`/proc/${alpha.server.pid}/status`, "utf8");
    expect(status).toMatch(new RegExp(`^Uid:\\s+${runAs?.uid ?? process.getuid?.()}\\s`, "m"));
    const { config, adminSocket } = ejabberdFiles(alpha.site.folder);
    expect([(await stat(alpha.site.folder)).mode & 0o777, (await stat(config)).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(existsSync(adminSocket)).toBe(true);
    const command = await readFile(`/proc/${alpha.server.pid}/cmdline`, "utf8");
    expect(command).not.toContain(SECRET);
    const ann = await alpha.client("ann", SECRET);
    expect(ann.closed).toBe(false);
    expect(await alpha.log()).not.toContain(SECRET);
  });

  it("is no node of a cluster: no epmd, no port but those of the site", async () => {
    const command = (await readFile(`/proc/${alpha.server.pid}/cmdline`, "utf8")).split("\0");
    expect(command.filter((part) => /^-(s?name|setcookie|start_epmd)$/.test(part))).toEqual([]);
    const inodes = await listeningPorts(alpha.server.pid ?? 0);
    expect(inodes.sort()).toEqual([5222, 5223, 5269, 5347]);
  });

  it("makes, changes and removes accounts while it runs, and takes no name that it would change", async () => {
    must(await alpha.server.ensureAccount({ name: "eve", password: SECRET }));
    must(await alpha.server.ensureAccount({ name: "eve", password: SECRET }));
    const eve = await alpha.client("eve", SECRET);
    must(await alpha.server.ensureAccount({ name: "eve", password: "another password" }));
    await expect(alpha.client("eve", SECRET)).rejects.toThrow("not-authorized");
    expect(must(await alpha.server.removeAccount("eve"))).toBe(true);
    await eve.untilClosed();
    expect(must(await alpha.server.removeAccount("eve"))).toBe(false);
    expect(await alpha.server.ensureAccount({ name: "Eve@x", password: SECRET })).toMatchObject({
      error: { kind: "admin-failed" },
    });
    expect(await alpha.log()).not.toContain("another password");
  });

  it("stops without a trace, finds its accounts again, and tells a death from a stop", async () => {
    const exits: boolean[] = [];
    alpha.server.onExit(({ expected }) => exits.push(expected));
    const { pid = 0 } = alpha.server;
    await alpha.server.stop();
    expect([existsSync(`/proc/${pid}`), existsSync(ejabberdFiles(alpha.site.folder).adminSocket)]).toEqual([
      false,
      false,
    ]);
    must(await alpha.server.start());
    await alpha.client("ann", SECRET);
    const died = new Promise<void>((resolve) => alpha.server.onExit(() => resolve()));
    process.kill(alpha.server.pid ?? 0, "SIGKILL");
    await died;
    expect(exits).toEqual([true, false]);
    must(await alpha.server.start());
    await alpha.client("ann", SECRET);
  });

  it("is refused a port that is taken, and a module that does not compile, with what to do", async () => {
    const taken = await sites.ejabberd("gamma.test", "127.45.11.1");
    const refused = await taken.server.start();
    expect(refused).toMatchObject({ error: { kind: "port-in-use", address: "127.45.11.1", port: 5222 } });
    const folder = await mkdtemp(join(tmpdir(), "ejabberd-module-"));
    try {
      await writeFile(join(folder, "mod_muster.erl"), "-module(mod_muster).\nstart( -> ok.\n");
      const broken = await sites.ejabberd("delta.test", "127.45.11.4", { modulesFolder: folder });
      const outcome = await broken.server.start();
      expect(outcome).toMatchObject({ error: { kind: "module-not-loaded", module: "mod_muster" } });
      if (!outcome.ok) expect(describeServerFault(outcome.error)).toContain("deploy/ejabberd-modules");
      expect(broken.server.pid).toBeUndefined();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** TCP ports on which a process listens, from proc(5). */
async function listeningPorts(pid: number): Promise<number[]> {
  const { readdir, readlink } = await import("node:fs/promises");
  const handles = await readdir(`/proc/${pid}/fd`);
  const targets = new Set(await Promise.all(handles.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => ""))));
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8").catch(() => "")),
  );
  const rows = tables.flatMap((table) => table.split("\n").slice(1)).map((line) => line.trim().split(/\s+/));
  return rows
    .filter((fields) => fields[3] === "0A" && targets.has(`socket:[${fields[9]}]`))
    .map((fields) => Number.parseInt(fields[1]?.split(":")[1] ?? "0", 16));
}
