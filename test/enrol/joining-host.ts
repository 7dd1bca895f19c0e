import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { type Ended, finished } from "../system/federation-run.ts";

const LAUNCHER = join(import.meta.dirname, "..", "..", "muster");

/** `muster host join` in the foreground, as the new host's admin starts it. */
export class JoiningHost {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #output = "";

  /** `command` is the line that `muster host enrol` printed; `options` are what the admin adds to it. */
  constructor(command: string, options: readonly string[]) {
    const [, ...words] = command.trim().split(" ");
    this.#child = spawn(LAUNCHER, [...words, ...options], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (chunk) => {
        this.#output += String(chunk);
      });
    this.ended = finished(this.#child);
  }

  get output(): string {
    return this.#output;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Ctrl-C. */
  async stop(): Promise<Ended> {
    if (this.isRunning) this.#child.kill("SIGINT");
    return await this.ended;
  }
}
