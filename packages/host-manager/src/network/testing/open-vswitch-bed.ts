import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

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

  stop(): void {
    for (const name of ["switch", "database"]) {
      try {
        process.kill(Number(readFileSync(this.#at(`${name}.pid`), "utf8")), "SIGTERM");
      } catch {
        // It has ended by itself, or never began.
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
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
