// Set-up as a program, on machines made of a folder: a checkout without code, and commands of our own on PATH.
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEBIAN_PACKAGES, GUEST_PACKAGES } from "../../scripts/plan.mjs";

const checkout = join(import.meta.dirname, "..", "..");
const isRoot = process.getuid?.() === 0;

let machine: string;
beforeEach(() => {
  machine = mkdtempSync(join(tmpdir(), "muster-setup-"));
  cpSync(join(checkout, "scripts"), join(machine, "checkout", "scripts"), { recursive: true });
  const lock = JSON.stringify({
    packages: { "": {}, "node_modules/zod": { version: "4.0.0", integrity: "sha512-a" } },
  });
  writeFileSync(join(machine, "checkout", "package-lock.json"), lock);
  mkdirSync(join(machine, "bin"));
  mkdirSync(join(machine, "root", "usr", "sbin"), { recursive: true });
  for (const command of ["flock", "sh", "cat", "sleep", "mkdir", "cp"]) {
    symlinkSync(existsSync(`/usr/bin/${command}`) ? `/usr/bin/${command}` : `/bin/${command}`, path("bin", command));
  }
  for (const command of ["invoke-rc.d", "update-rc.d"]) addCommand(command, "");
  // dpkg knows what the file says is installed.
  addCommand("dpkg-query", `cat '${path("installed")}'`);
  addCommand("npm", `mkdir -p node_modules && sleep 0.2 && cp package-lock.json node_modules/.package-lock.json`);
  addCommand("apt-get", `[ -e '${policyFile()}' ] && cat '${policyFile()}' > '${path("policy")}'`, APT_INSTALLS());
  setInstalled([...DEBIAN_PACKAGES.map((entry) => entry.name), ...forGuests]);
});
afterEach(() => rmSync(machine, { recursive: true }));

const forGuests = GUEST_PACKAGES.map((entry) => entry.name);
const path = (...parts: string[]): string => join(machine, ...parts);
const policyFile = (): string => path("root", "usr", "sbin", "policy-rc.d");
const log = (): string[] => (existsSync(path("log")) ? readFileSync(path("log"), "utf8").trim().split("\n") : []);
const APT_INSTALLS = (): string =>
  `case "$*" in *install*) cat '${path("all")}' > '${path("installed")}' ;; esac; exit 0`;

function addCommand(name: string, ...lines: string[]): void {
  const text = ["#!/bin/sh", `printf '%s\\n' "${name} $*" >> '${path("log")}'`, ...lines, ""].join("\n");
  writeFileSync(path("bin", name), text, { mode: 0o755 });
}

function setInstalled(names: readonly string[]): void {
  const rows = (list: readonly string[]): string => list.map((name) => `${name} installed\n`).join("");
  writeFileSync(path("installed"), rows(names));
  writeFileSync(path("all"), rows([...DEBIAN_PACKAGES.map((entry) => entry.name), ...forGuests]));
}

/** Starts set-up on the machine, or a program that does. */
function start(program = [path("checkout", "scripts", "setup.mjs")]): ChildProcess {
  const env = { PATH: path("bin"), DPKG_ROOT: path("root"), HOME: machine };
  return spawn(process.execPath, program, {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function setUp(program?: string[]): Promise<{ code: number | null; output: string }> {
  const child = start(program);
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, output })));
}

const changes = (): string[] => log().filter((line) => !line.startsWith("dpkg-query"));

describe("set-up on a machine that has the Debian packages", () => {
  it("installs the npm packages without their scripts, and nothing the second time", async () => {
    expect(await setUp()).toMatchObject({ code: 0 });
    expect(changes()).toEqual([expect.stringMatching(/^npm ci --ignore-scripts .*--include=optional/)]);
    const second = await setUp();
    expect(second).toMatchObject({ code: 0, output: "set-up: everything is in place\n" });
    expect(changes()).toHaveLength(1);
  });

  it("installs once when two set-ups start together", async () => {
    const both = await Promise.all([setUp(), setUp()]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(changes()).toHaveLength(1);
  });

  it("repeats what npm says when it fails, and exits with 1", async () => {
    addCommand("npm", "echo 'npm error code ENOSPC' >&2; exit 28");
    const { code, output } = await setUp();
    expect(code).toBe(1);
    expect(output).toContain("`npm ci` failed (exit 28)");
    expect(output).toContain("npm error code ENOSPC");
  });
});

describe("set-up on a machine that lacks Debian packages", () => {
  beforeEach(() => setInstalled(["openssl", "ca-certificates", ...forGuests]));

  it("without apt-get: one message, exit 1, nothing changed", async () => {
    rmSync(path("bin", "apt-get"));
    const { code, output } = await setUp();
    expect(code).toBe(1);
    for (const name of ["prosody", "lua-unbound", "libvirt-daemon", "libvirt-clients", "etcd-server"])
      expect(output).toContain(name);
    expect(output).not.toContain("openssl");
    expect(changes()).toEqual([]);
    expect(existsSync(path("checkout", "node_modules"))).toBe(false);
  });

  it.runIf(isRoot)("as root: updates, installs the missing ones only, says why, and again nothing", async () => {
    const { code, output } = await setUp();
    expect(output).toContain("installs the Debian package prosody: the XMPP server of each site");
    expect(code).toBe(0);
    const apt = changes().filter((line) => line.startsWith("apt-get"));
    expect(apt).toHaveLength(2);
    expect(apt[0]).toMatch(/ update$/);
    expect(apt[1]).toMatch(
      / install --yes --no-install-recommends prosody lua-unbound libvirt-daemon libvirt-clients etcd-server spin tcc libc6-dev$/,
    );
    await setUp();
    expect(changes().filter((line) => line.startsWith("apt-get"))).toHaveLength(2);
  });

  it.runIf(isRoot)("as root: leaves out what only tests need where none are run", async () => {
    const program = `import { prepare } from "${path("checkout", "scripts", "prepare.mjs")}"; prepare();`;
    expect(await setUp(["--input-type=module", "-e", program])).toMatchObject({ code: 0 });
    expect(changes().filter((line) => line.startsWith("apt-get"))).toEqual([
      expect.stringMatching(/ update$/),
      expect.stringMatching(/ libvirt-clients etcd-server$/),
    ]);
  });

  it.runIf(isRoot)(
    "as root: Prosody and etcd may not start while they are installed, and are switched off afterwards",
    async () => {
      await setUp();
      expect(readFileSync(path("policy"), "utf8")).toContain(
        "prosody|prosody.service|prosody.socket|etcd|etcd.service|etcd.socket) exit 101",
      );
      expect(existsSync(policyFile())).toBe(false);
      expect(changes()).toEqual(expect.arrayContaining(["update-rc.d prosody disable", "update-rc.d etcd disable"]));
    },
  );

  it.runIf(isRoot)("as root: leaves an administrator's own policy for services as it is", async () => {
    writeFileSync(policyFile(), "#!/bin/sh\nexit 101\n", { mode: 0o755 });
    await setUp();
    expect(readFileSync(policyFile(), "utf8")).toBe("#!/bin/sh\nexit 101\n");
  });

  it.runIf(isRoot)("as root: leaves a Prosody and an etcd that were there before alone", async () => {
    setInstalled(["prosody", "lua-unbound", "etcd-server", ...forGuests]);
    await setUp();
    expect(changes().filter((line) => line.includes("rc.d"))).toEqual([]);
  });

  it.runIf(isRoot)("as root: a failing apt-get is repeated in the message, and npm is not run", async () => {
    addCommand("apt-get", "echo 'E: Could not resolve deb.example' >&2; exit 100");
    const { code, output } = await setUp();
    expect(code).toBe(1);
    expect(output).toContain("`apt-get update` failed (exit 100)");
    expect(output).toContain("E: Could not resolve deb.example");
    expect(changes().filter((line) => line.startsWith("npm"))).toEqual([]);
    expect(existsSync(policyFile())).toBe(false);
  });
});

describe("set-up on a machine that lacks only what real guests need", () => {
  beforeEach(() => setInstalled(DEBIAN_PACKAGES.map((entry) => entry.name)));

  it.runIf(isRoot)("as root: installs it, says what for, and again nothing", async () => {
    const { code, output } = await setUp();
    expect(code).toBe(0);
    expect(output).toContain("installs the Debian package qemu-system-x86: runs real guests");
    const apt = (): string[] => changes().filter((line) => line.startsWith("apt-get"));
    expect(apt()[1]).toContain("qemu-system-x86 qemu-utils");
    await setUp();
    expect(apt()).toHaveLength(2);
  });

  it("without apt-get: goes on without a word", async () => {
    rmSync(path("bin", "apt-get"));
    const { code, output } = await setUp();
    expect(code).toBe(0);
    expect(output).not.toContain("qemu");
  });

  it.runIf(isRoot)(
    "as root with a failing apt-get: says so and goes on; only set-up itself tries again at once",
    async () => {
      addCommand("apt-get", "echo 'E: Could not resolve deb.example' >&2; exit 100");
      const { code, output } = await setUp();
      expect(code).toBe(0);
      expect(output).toContain("goes on without real guests");
      expect(existsSync(path("checkout", "node_modules", ".cache", "muster", "guests-put-off"))).toBe(true);
      const tries = (): number => changes().filter((line) => line.startsWith("apt-get")).length;
      expect(tries()).toBe(1);
      await setUp();
      expect(tries()).toBe(2);
    },
  );
});
