import { ok, type Result } from "@muster/base";
import { type RunProgram, runProgram } from "./run-program.ts";

const TIMEOUT_S = 5;

/** ovs-vsctl(8), the switches that Open vSwitch has here. Ports of guests are made and removed by libvirt. */
export class OpenVSwitch {
  readonly #words: readonly string[];
  readonly #run: RunProgram;

  /** `database`: as ovs-vsctl takes it; absent: its usual one. */
  constructor(database?: string, run: RunProgram = runProgram) {
    this.#words = [`--timeout=${TIMEOUT_S}`, ...(database === undefined ? [] : [`--db=${database}`])];
    this.#run = run;
  }

  /** The fault says why nobody can tell: it is not installed, or does not run. */
  async hasBridge(name: string): Promise<Result<boolean, string>> {
    const found = await this.#run("ovs-vsctl", [
      ...this.#words,
      "--bare",
      "--columns=name",
      "find",
      "Bridge",
      `name=${name}`,
    ]);
    return found.ok ? ok(found.value.trim() === name) : found;
  }
}
