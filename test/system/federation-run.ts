import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import { readFederationFile, type SiteEntry } from "@muster/federation";
import { until } from "./until.ts";

export const CHECKOUT = join(import.meta.dirname, "..", "..");
const LAUNCHER = join(CHECKOUT, "muster");

/** How the launcher is called: its words, and what its environment has besides. */
export type Launch = { readonly words: readonly string[]; readonly env: Readonly<Record<string, string>> };

const AS_IS: Launch = { words: [LAUNCHER], env: {} };

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** A state folder with a path short enough for sockets, which the XMPP server's own user may pass through. */
export function newStateFolder(): string {
  const folder = mkdtempSync("/tmp/m");
  chmodSync(folder, 0o711);
  return folder;
}

/** `./muster up` as a person starts it: a child process with pipes for a terminal. */
export class FederationRun {
  readonly state: string;
  readonly #child: ChildProcess;
  readonly ended: Promise<Ended>;
  #stdout = "";
  #stderr = "";
  #over = false;

  constructor(state: string, args: readonly string[], launch = AS_IS) {
    this.state = state;
    this.#child = launched(launch, ["up", "--state", state, ...args]);
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.#child.once("close", (code) => {
        this.#over = true;
        resolve({ code, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  /** Started and up. */
  static async up(state: string, args: readonly string[], withinMs = 40_000): Promise<FederationRun> {
    const run = new FederationRun(state, args);
    await run.saying(/sites are up after|Ctrl-C stops everything/, withinMs);
    return run;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get said(): string {
    return this.#stdout + this.#stderr;
  }

  get stdout(): string {
    return this.#stdout;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Waits until it has said so; throws at once when it ends before. */
  saying(what: RegExp, withinMs = 20_000): Promise<void> {
    return until(
      `${what} in what it says: ${this.said.slice(-2_000)}`,
      () => {
        if (what.test(this.said)) return true;
        if (this.#over) throw new Error(`it ended without saying ${what}:\n${this.said.slice(-2_000)}`);
        return false;
      },
      withinMs,
    );
  }

  /** Ctrl-C, and what it said in all. */
  async interrupt(): Promise<Ended> {
    this.signal("SIGINT");
    return await this.ended;
  }

  site(name: string): SiteEntry {
    const file = readFederationFile(this.state);
    if (!file.ok) throw new Error(file.error);
    const entry = file.value.sites.find((site) => site.name === name);
    if (entry === undefined) throw new Error(`no site ${name}`);
    return entry;
  }

  client(name = "alpha", patienceMs = 15_000): SiteClient {
    const { urls, tokenFile } = this.site(name);
    return createSiteClient({
      endpoint: { urls, token: readFileSync(tokenFile, "utf8").trim() },
      clock: systemClock,
      rng: systemRng,
      patienceMs,
    });
  }

  /** Ends it whatever its state, and removes the folder: for the end of a test. */
  async clear(): Promise<void> {
    if (!this.#over) this.signal("SIGINT");
    await this.ended;
    rmSync(this.state, { recursive: true, force: true });
  }
}

/** Runs one command of the command line to its end. */
export function muster(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  launch = AS_IS,
): Promise<Ended> {
  return finished(launched({ ...launch, env: { ...launch.env, ...env } }, args));
}

function launched({ words, env }: Launch, args: readonly string[]): ChildProcess {
  const [program = LAUNCHER, ...before] = words;
  return spawn(program, [...before, ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
}

/** What a process says until it ends. */
export function finished(child: ChildProcess): Promise<Ended> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
}
