import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../testing/until.ts";

const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`;
const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";

export function hasOpenVSwitch(): boolean {
  return ["ovsdb-server", "ovs-vswitchd", "ovs-vsctl"].every(
    (program) => spawnSync("sh", ["-c", `command -v ${program}`], { env: { PATH } }).status === 0,
  );
}

/** Open vSwitch of one test: a database and a switch of its own, whose ports are in one network namespace. */
export class OpenVSwitchBed {
  readonly folder = mkdtempSync(join(tmpdir(), "muster-ovs-"));

  constructor(namespace: string) {
    const daemon = ["--detach", "--no-chdir", "--verbose=off"];
    const files = (name: string): readonly string[] => [
      `--pidfile=${this.#at(`${name}.pid`)}`,
      `--unixctl=${this.#at(`${name}.ctl`)}`,
      ...daemon,
    ];
    const database = this.#at("conf.db");
    this.#run("ovsdb-tool", ["create", database, SCHEMA]);
    this.#run("ovsdb-server", [database, `--remote=punix:${this.#at("db.sock")}`, ...files("database")]);
    this.#run("ip", ["netns", "exec", namespace, "ovs-vswitchd", this.database, ...files("switch")]);
  }

  get database(): string {
    return `unix:${this.#at("db.sock")}`;
  }

  vsctl(...words: readonly string[]): string {
    return this.#run("ovs-vsctl", ["--timeout=10", `--db=${this.database}`, ...words]).trim();
  }

  /** A bridge that needs no module of the kernel. */
  addBridge(name: string): void {
    this.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev");
  }

  /** Ends both, and removes their folder once they write nothing into it any more. */
  async stop(): Promise<void> {
    for (const name of ["switch", "database"]) {
      const pid = this.#pidOf(name);
      if (pid === undefined) continue;
      process.kill(pid, "SIGTERM");
      await until(`the ${name} ends`, () => !isAlive(pid));
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** `undefined` of one that never began, or has ended by itself. */
  #pidOf(name: string): number | undefined {
    try {
      const pid = Number(readFileSync(this.#at(`${name}.pid`), "utf8"));
      return isAlive(pid) ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  #at(name: string): string {
    return join(this.folder, name);
  }

  #run(program: string, words: readonly string[]): string {
    const env = { PATH, OVS_RUNDIR: this.folder, OVS_LOGDIR: this.folder };
    return execFileSync(program, [...words], {
      encoding: "utf8",
      env,
      timeout: 20_000,
      stdio: ["ignore", "pipe", "pipe"],
    });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
