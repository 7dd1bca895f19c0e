import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readSync, renameSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { assert, type Clock, type Rng } from "@muster/base";
import type { ProcessRecord } from "./process-record.ts";
import { RestartBudget } from "./restart-budget.ts";

export type ManagedProcessOptions = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly logPath: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly record: ProcessRecord;
  /** Exit code with which it ends for good, as nothing that went wrong. */
  readonly retiresWith?: number;
  /** Told of every unexpected end and what follows from it. */
  readonly onDeath: (death: ProcessDeath) => void;
};

/** `restartInMs` absent: the bound is reached, or it ended in a way that a restart does not mend. */
export type ProcessDeath = {
  readonly name: string;
  readonly how: string;
  readonly restartInMs?: number;
  /** It ended for good with the exit code meant for that: whoever depends on it may go on. */
  readonly retired?: true;
  readonly logTail: string;
};

/** Exit code of our managers for a configuration that no restart will mend. */
const EXIT_CONFIG = 2;
const LOG_BYTES_MAX = 32 * 1024 * 1024;

/** One child process, kept running: started again with backoff when it dies, at most so often, stopped in order. */
export class ManagedProcess {
  readonly #options: ManagedProcessOptions;
  readonly #budget: RestartBudget;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #stopping = false;
  #cancelRestart: () => void = () => {};
  /** How long the next restart is to wait; set by `crash`. */
  #downMs: number | undefined;

  constructor(options: ManagedProcessOptions) {
    this.#options = options;
    this.#budget = new RestartBudget(options.rng);
  }

  get name(): string {
    return this.#options.name;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it; what keeps it from starting is told as a death. After `stop` nothing is started any more. */
  start(): void {
    assert(this.#child === undefined, "a managed process is started once");
    if (this.#stopping) return;
    try {
      this.#spawn();
    } catch (cause) {
      // No log can be opened, for instance on a full disk, or no process made.
      this.#died(cause instanceof Error ? cause.message : String(cause), null);
    }
  }

  #spawn(): void {
    const { name, command, args, env = {}, logPath, record } = this.#options;
    const log = openLog(logPath);
    // A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops the parts in order.
    const child = spawn(command, [...args], {
      stdio: ["ignore", log, log],
      env: { ...process.env, ...env },
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    if (child.pid !== undefined) record.add(name, child.pid);
    this.#ended = new Promise((resolve) => {
      const end = (how: string, code: number | null): void => {
        this.#child = undefined;
        record.remove(name);
        resolve();
        if (!this.#stopping) this.#died(how, code);
      };
      child.once("error", (cause) => end(cause.message, null));
      child.once("exit", (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`, code));
    });
  }

  /** Kills it with SIGKILL and leaves it down for `downMs`: for a tour or test that wants to see what its death does. */
  crash(downMs: number): void {
    this.#downMs = downMs;
    this.#child?.kill("SIGKILL");
  }

  /** Stops it with SIGSTOP, as if it hung; once somebody has ended it, it is down for `downMs`. */
  hang(downMs: number): void {
    this.#downMs = downMs;
    this.#child?.kill("SIGSTOP");
  }

  /** Lets it go on after `hang`. */
  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  /** SIGTERM, then SIGKILL after `patienceMs`; resolves when it is gone. */
  async stop(patienceMs = 5_000): Promise<void> {
    this.#stopping = true;
    this.#cancelRestart();
    const child = this.#child;
    if (child === undefined) return;
    child.kill("SIGTERM");
    // One that was stopped with SIGSTOP hears the rest only when it goes on.
    child.kill("SIGCONT");
    const cancel = this.#options.clock.setTimer(patienceMs, () => child.kill("SIGKILL"));
    await this.#ended;
    cancel();
  }

  #died(how: string, code: number | null): void {
    const { name, clock, onDeath, logPath } = this.#options;
    const logTail = tailOf(logPath);
    if (code !== null && code === this.#options.retiresWith) {
      onDeath({ name, how, logTail, retired: true });
      return;
    }
    // A death that was asked for says nothing against starting it again.
    const restartInMs = this.#downMs ?? this.#budget.restartInMs(clock.nowMs());
    this.#downMs = undefined;
    if (code === EXIT_CONFIG || restartInMs === undefined) {
      onDeath({ name, how, logTail });
      return;
    }
    this.#cancelRestart = clock.setTimer(restartInMs, () => this.start());
    onDeath({ name, how, restartInMs, logTail });
  }
}

function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes > LOG_BYTES_MAX) renameSync(path, `${path}.1`);
  return openSync(path, "a", 0o600);
}

/** The end of a log, for the message about a process that died. */
export function tailOf(path: string, bytesMax = 2_000): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return "";
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(Math.min(size, bytesMax));
    readSync(file, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString("utf8").trimEnd();
  } finally {
    closeSync(file);
  }
}
