import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type FederationPlan, type MachinePlan, planMachines } from "@muster/federation";
import { onTestFailed } from "vitest";
import { type Ended, FederationRun, finished, muster } from "../system/federation-run.ts";
import { until } from "../system/until.ts";
import { CountingSession } from "./counting-session.ts";
import type { OrdinaryUser } from "./ordinary-user.ts";

const SSH_OPTIONS = [
  "BatchMode=yes",
  "StrictHostKeyChecking=no",
  "UserKnownHostsFile=/dev/null",
  "IdentitiesOnly=yes",
  "ConnectTimeout=5",
  "LogLevel=ERROR",
].flatMap((option) => ["-o", option]);

/** A federation with real guests, a user with an ssh key, and what to look at when it is over. */
export class GuestBed {
  readonly state: string;
  readonly run: FederationRun;
  readonly #keys: string;
  readonly #user: OrdinaryUser | undefined;

  private constructor(state: string, run: FederationRun, keys: string, user: OrdinaryUser | undefined) {
    this.state = state;
    this.run = run;
    this.#keys = keys;
    this.#user = user;
  }

  /** With a user, the federation and its command line are theirs. */
  static begin(args: readonly string[], user?: OrdinaryUser): GuestBed {
    const state = mkdtempSync("/tmp/m");
    chmodSync(state, 0o711);
    const keys = mkdtempSync(join(tmpdir(), "muster-keys-"));
    for (const name of ["user", "stranger"])
      spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", `${name}@example`, "-f", join(keys, name)]);
    user?.own(state, keys);
    const words = ["--hypervisor", "qemu", "--virt-type", "qemu", ...args];
    return new GuestBed(state, new FederationRun(state, words, user?.launch), keys, user);
  }

  get privateKey(): string {
    return join(this.#keys, "user");
  }

  get publicKey(): string {
    return join(this.#keys, "user.pub");
  }

  /** A command of the command line that must succeed; what it wrote to its standard output. */
  async muster(...args: readonly string[]): Promise<string> {
    const ended = await this.tryMuster(...args);
    if (ended.code !== 0)
      throw new Error(`muster ${args.join(" ")}: exit ${ended.code}\n${ended.stdout}${ended.stderr}`);
    return ended.stdout;
  }

  tryMuster(...args: readonly string[]): Promise<Ended> {
    // What the command line keeps for its user, known host keys for one, goes with the keys.
    return muster(["--state", this.state, ...args], { XDG_STATE_HOME: this.#keys }, this.#user?.launch);
  }

  /** Runs a command in the guest by ssh, as its root. */
  ssh(address: string, command: string, key: "user" | "stranger" = "user"): Promise<Ended> {
    const words = [...this.#target(address, key), command];
    return finished(spawn("ssh", words, { stdio: ["ignore", "pipe", "pipe"], timeout: 30_000 }));
  }

  /** A session in which the guest counts; it is ended with `end` or with the guest. */
  counting(address: string): CountingSession {
    return new CountingSession(this.#target(address, "user"));
  }

  #target(address: string, key: "user" | "stranger"): readonly string[] {
    const [host = address, port = "22"] = address.split(":");
    return [...SSH_OPTIONS, "-i", join(this.#keys, key), "-p", port, `root@${host}`];
  }

  /** Waits until the guest lets its user in; how long that took. */
  async loggedIn(address: string, withinMs = 90_000): Promise<number> {
    const startedMs = performance.now();
    let last = "";
    await until(
      () => `ssh to ${address}: ${last}`,
      async () => {
        const ended = await this.ssh(address, "true");
        last = ended.stderr.trim();
        return ended.code === 0;
      },
      withinMs,
    );
    return performance.now() - startedMs;
  }

  /** Files below the folders of all hosts' guests and networks: what a VM could leave. */
  guestFiles(): readonly string[] {
    return readdirSync(this.state, { recursive: true, encoding: "utf8" })
      .filter((path) => /\/state\/guests\/.|\/lib\/qemu\/.*\.(?:agent|monitor)|\/etc\/qemu\/[^/]+\.xml$/.test(path))
      .sort();
  }

  /** What is noted of attached interfaces, by the hosts' own notes. */
  noted(): readonly unknown[] {
    const files = readdirSync(this.state, { recursive: true, encoding: "utf8" }).filter((path) =>
      path.endsWith("/networks.json"),
    );
    return files.flatMap((path) => JSON.parse(readFileSync(join(this.state, path), "utf8")).uses);
  }

  machines(plan: FederationPlan): MachinePlan {
    return planMachines(plan, this.state);
  }

  /** Domains of a host's libvirt, running or not, by their ids. */
  domains(site: string, host: string): readonly string[] {
    const socket = join(this.state, site, host, "v", "run", "libvirt-sock");
    const uri = `qemu+unix:///${this.#user === undefined ? "system" : "session"}?socket=${socket}`;
    const shown = spawnSync("virsh", ["--connect", uri, "--quiet", "list", "--all", "--uuid"], { encoding: "utf8" });
    if (shown.status !== 0) throw new Error(`virsh: ${shown.stderr}`);
    return shown.stdout.split("\n").filter((line) => line !== "");
  }

  /** Keeps what explains a failure; returns where. */
  keepLogs(): string {
    const kept = mkdtempSync(join(tmpdir(), "muster-guests-failed-"));
    const wanted = readdirSync(this.state, { recursive: true, encoding: "utf8" }).filter((path) =>
      /\.log$|\.xml$|host\.yaml$|networks\.json$/.test(path),
    );
    for (const path of wanted) {
      const target = join(kept, path);
      mkdirSync(join(target, ".."), { recursive: true });
      if (existsSync(join(this.state, path))) cpSync(join(this.state, path), target);
    }
    return kept;
  }

  async clear(): Promise<void> {
    await this.run.clear();
    rmSync(this.#keys, { recursive: true, force: true });
    this.#user?.clear();
  }
}

/** Has what explains it kept, where the case that calls it fails. */
export function told(bed: GuestBed): void {
  onTestFailed(() => {
    process.stderr.write(`real guests: logs are kept in ${bed.keepLogs()}\n`);
  });
}

/** Interfaces and namespaces of this machine whose names begin so, as lines. */
export function networkTraces(tag: string): readonly string[] {
  const lines = (args: readonly string[]): readonly string[] =>
    spawnSync("ip", [...args], { encoding: "utf8" }).stdout.split("\n");
  const links = lines(["-brief", "link", "show"]).filter((line) => line.startsWith(tag));
  const namespaces = lines(["netns", "list"]).filter((line) => line.startsWith(`${tag}-`));
  return [...links.map((line) => `interface ${line}`), ...namespaces.map((line) => `namespace ${line}`)];
}

/** Names of the interfaces in a namespace. */
export function interfacesIn(namespace: string): readonly string[] {
  const shown = spawnSync("ip", ["-netns", namespace, "-json", "link", "show"], { encoding: "utf8" });
  const links: { ifname: string }[] = JSON.parse(shown.stdout);
  return links.map(({ ifname }) => ifname).sort();
}

/** Processes of a program in a namespace. */
export function processesIn(namespace: string, program: string): readonly number[] {
  const shown = spawnSync("ip", ["netns", "pids", namespace], { encoding: "utf8" });
  const runs = (pid: number): boolean => {
    try {
      return basename(readlinkSync(`/proc/${pid}/exe`)) === program;
    } catch {
      return false;
    }
  };
  return shown.stdout.split("\n").filter(Boolean).map(Number).filter(runs);
}
