import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { VirtualClock } from "@muster/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeServerFault, type ProsodyServer, type ProsodySite, type ServerExit, siteFiles } from "./index.ts";
import { MODULES_FOLDER } from "./site-folder.ts";
import { linkComponent } from "./testing/raw-stream.ts";
import { must, SECRET, TestSites } from "./testing/test-sites.ts";

let sites: TestSites;

beforeAll(async () => {
  sites = await TestSites.create();
});

afterAll(() => sites.close());

describe("a server process", () => {
  it("runs unprivileged, keeps its secrets to itself, stops without a trace, and finds its accounts again", async () => {
    const accounts = [{ name: "ann", password: "one" }];
    const site = await sites.site("alpha.test", "127.0.35.1", { accounts });
    await site.start();
    const { pid } = site.server;
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    const uid = sites.runAs?.uid ?? process.getuid?.();
    expect(status).toMatch(new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, "m"));
    expect(status).toMatch(/^CapEff:\s+0+$/m);
    expect(sites.runAs === undefined || /^Groups:\s*$/m.test(status)).toBe(true);
    const files = siteFiles(site.site.folder);
    expect((await stat(files.config)).mode & 0o777).toBe(0o600);
    expect((await stat(site.site.folder)).mode & 0o777).toBe(0o700);

    (await site.client("ann", "one")).close();
    const host = must(await site.server.enrolmentToken("host1", 60));
    await site.server.stop();
    expect(await alive(pid)).toBe(false);
    for (const path of [files.pid, files.adminSocket]) await expect(stat(path)).rejects.toThrow(/ENOENT/);

    await site.start();
    (await site.client("ann", "one")).close();
    expect(must(await site.server.enrolmentToken("host1", 60)).token).not.toBe(host.token);
    await site.server.stop();
  });

  it("tells when it died and how, and starts again; a stop is told apart", async () => {
    const site = await sites.site("beta.test", "127.0.35.2");
    const exits: ServerExit[] = [];
    site.server.onExit((exit) => exits.push(exit));
    for (const expected of [false, true]) {
      await site.start();
      const ended = new Promise((resolve) => site.server.onExit(resolve));
      if (expected) await site.server.stop();
      else process.kill(site.server.pid ?? 0, "SIGKILL");
      await ended;
      expect(site.server.pid).toBeUndefined();
    }
    expect(exits).toMatchObject([
      { expected: false, signal: "SIGKILL" },
      { expected: true, code: 0 },
    ]);
    expect(exits[0]?.logTail.join()).toContain("\tinfo\t");
  });

  it("that ignores SIGTERM is killed in time", async () => {
    const { site } = await sites.site("gamma.test", "127.0.35.3");
    const server = sites.server({ site, stopTimeoutMs: 100 });
    must(await server.start());
    const { pid } = server;
    process.kill(pid ?? 0, "SIGSTOP");
    await server.stop();
    expect(await alive(pid)).toBe(false);
  });

  it("that is stopped while starting is called off, and starting twice is starting once", async () => {
    const site = await sites.site("delta.test", "127.0.35.4");
    const starting = site.server.start();
    await site.server.stop();
    expect(await starting).toEqual({ ok: false, error: { kind: "called-off" } });
    expect(site.server.pid).toBeUndefined();
    const [first, second] = await Promise.all([site.server.start(), site.server.start()]);
    expect([first.ok, second.ok]).toEqual([true, true]);
    await site.server.stop();
  });

  it("S2: keeps its log within a bound, while it runs", async () => {
    const { site, cloud } = await sites.site("xi.test", "127.0.35.6");
    const clock = new VirtualClock();
    const server = sites.server({ site, clock, logBytesMax: 1000 });
    must(await server.start());
    const { log } = siteFiles(site.folder);
    clock.advance(60_000);
    const exists = async (path: string) => (await stat(path).catch(() => undefined)) !== undefined;
    await until(async () => (await exists(`${log}.1`)) && (await exists(log)));
    expect(await readFile(`${log}.1`, "utf8")).toContain("Hello and welcome");
    const component = await linkComponent({ address: site.address, port: 5347 }, cloud, SECRET);
    await until(async () => (await readFile(log, "utf8")).includes("External component successfully authenticated"));
    component.close();
    expect(await readFile(log, "utf8")).not.toContain("Hello and welcome");
    await server.stop();
  });

  it("dies with its parent; one that outlived it, and a stale pid file, do not stop the next start", async () => {
    const site = await sites.site("epsilon.test", "127.0.35.5");
    const pid = await startInChild(site.site);
    await until(async () => !(await alive(pid)));

    await writeFile(siteFiles(site.site.folder).pid, `${process.pid}`);
    await site.start();
    const old = site.server.pid;
    const other = sites.server({ site: site.site });
    must(await other.start());
    expect(await alive(old)).toBe(false);
    expect(other.pid).not.toBe(old);
    await other.stop();
  });
});

describe("what keeps a server from starting is said with its remedy", () => {
  it("a port in use, with its holder", async () => {
    const { site, server } = await sites.site("zeta.test", "127.0.36.1");
    const squatter = createServer().listen({ host: "127.0.36.1", port: 5269 });
    await once(squatter, "listening");
    const message = await refusal(server);
    squatter.close();
    expect(message).toMatch(new RegExp(`^127.0.36.1:5269 is in use by process ${process.pid} \\S+.*: stop it`));
    await expect(stat(siteFiles(site.folder).config)).rejects.toThrow(/ENOENT/);
  });

  it("an address that the machine does not have", async () => {
    const { server } = await sites.site("eta.test", "192.0.2.1");
    expect(await refusal(server)).toMatch(/no interface .* 192\.0\.2\.1: choose one/);
  });

  it("folders that it makes are passable for the unprivileged user, whatever the umask", async () => {
    const folder = join(sites.folder, "new", "state", "site");
    const umask = process.umask(0o077);
    try {
      const tls = await sites.certificate("new/state/site/certs", ["omicron.test"]);
      const { site } = await sites.site("omicron.test", "127.0.36.8");
      const server = sites.server({ site: { ...site, folder, tls } });
      must(await server.start());
      await server.stop();
    } finally {
      process.umask(umask);
    }
  });

  it("a folder that is a file, or that the unprivileged user cannot reach", async () => {
    const { site } = await sites.site("theta.test", "127.0.36.2");
    const file = join(sites.folder, "file");
    await writeFile(file, "");
    expect(await refusal(sites.server({ site: { ...site, folder: file } }))).toContain("a file is in the way");
    if (sites.runAs === undefined) return;
    const closed = join(sites.folder, "closed");
    await mkdir(closed);
    await chmod(closed, 0o700);
    const message = await refusal(sites.server({ site: { ...site, folder: join(closed, "site") } }));
    expect(message).toMatch(/may not enter .*closed: put the state elsewhere/);
  });

  it("a program that is not installed, a user that does not exist, settings that are wrong", async () => {
    const { site, server } = await sites.site("iota.test", "127.0.36.3");
    expect(await refusal(sites.server({ site: { ...site, domain: "Iota" } }))).toContain("domain: a lower-case");
    if (sites.runAs !== undefined)
      expect(await refusal(sites.server({ site, user: "nobody-here" }))).toContain('no user "nobody-here"');
    expect(
      describeServerFault({ kind: "binary-missing", binary: "prosody", debianPackage: "prosody lua-unbound" }),
    ).toBe("prosody is not installed: apt-get install --no-install-recommends prosody lua-unbound");
    await server.stop();
  });

  it("a death at start, with the last lines of the log", async () => {
    const { site } = await sites.site("kappa.test", "127.0.36.4");
    const modulesFolder = join(sites.folder, "bad-modules");
    await mkdir(modulesFolder);
    await writeFile(join(modulesFolder, "mod_muster_enrol.lua"), "os.exit(7)");
    const server = sites.server({ site, modulesFolder });
    const exits: ServerExit[] = [];
    server.onExit((exit) => exits.push(exit));
    const message = await refusal(server);
    expect(message).toMatch(/died at start \(exit code 7\)/);
    expect(message).toMatch(/the last lines of its log:\n {2}[\s\S]*\tinfo\t/);
    expect(exits).toEqual([]);
  });

  it("a module of ours that is missing or broken: the server would run without its protection", async () => {
    const { site } = await sites.site("pi.test", "127.0.36.9");
    const modulesFolder = join(sites.folder, "some-modules");
    await cp(MODULES_FOLDER, modulesFolder, { recursive: true });
    await writeFile(join(modulesFolder, "mod_muster_peers_only.lua"), "error('broken')");
    const message = await refusal(sites.server({ site, modulesFolder }));
    expect(message).toContain("without its module muster_peers_only on pi.test: restore");
  });

  it("a start that takes too long, with what it waited for", async () => {
    const { site } = await sites.site("lambda.test", "127.0.36.5");
    const server = sites.server({ site, startTimeoutMs: 1, stopTimeoutMs: 100 });
    expect(await refusal(server)).toMatch(/did not get ready in \d+ ms/);
    expect(server.pid).toBeUndefined();
  });

  it("a certificate that is missing, or that the server cannot use", async () => {
    const { site, server } = await sites.site("mu.test", "127.0.36.6");
    await writeFile(site.tls.certificatePath, "nonsense");
    expect(await refusal(server)).toMatch(/started without opening 127.0.36.6:5223; the last lines of its log/);
    await rm(site.tls.keyPath);
    expect(await refusal(server)).toMatch(/site.key cannot be used: it does not exist/);
  });

  it("S3: and none of it names a secret", async () => {
    const { site, server } = await sites.site("nu.test", "127.0.36.7");
    await writeFile(site.tls.certificatePath, "nonsense");
    const outcome = await server.start();
    expect(outcome.ok).toBe(false);
    const log = await readFile(siteFiles(site.folder).log, "utf8");
    for (const text of [JSON.stringify(outcome), log]) expect(text).not.toContain(site.cloudSecret);
  });
});

/** Starts a server from a process of its own, which is then killed; the server's process id. */
async function startInChild(site: ProsodySite): Promise<number> {
  const index = fileURLToPath(new URL("./index.ts", import.meta.url));
  const program = `
    const { ProsodyServer } = await import(${JSON.stringify(index)});
    const server = new ProsodyServer({ site: ${JSON.stringify(site)} });
    const started = await server.start();
    process.stdout.write((started.ok ? "pid " + server.pid : JSON.stringify(started)) + "\\n");
    setInterval(() => {}, 1000);`;
  const parameters = ["--conditions=muster-source", "--input-type=module", "-e", program];
  const child = spawn(process.execPath, parameters, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [printed] = await once(child.stdout, "data");
    const pid = Number(/^pid (\d+)$/m.exec(String(printed))?.[1]);
    expect(await alive(pid), String(printed)).toBe(true);
    return pid;
  } finally {
    child.kill("SIGKILL");
  }
}

async function refusal(server: ProsodyServer): Promise<string> {
  const outcome = await server.start();
  if (outcome.ok) {
    await server.stop();
    throw new Error("it started");
  }
  return describeServerFault(outcome.error);
}

async function alive(pid: number | undefined): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "State:\tX");
  return !/^State:\s+[ZX]/m.test(status);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 5_000;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error("not in time");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
