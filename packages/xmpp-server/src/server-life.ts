import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { type CancelTimer, type Clock, err, ok, type Result } from "@muster/base";
import type { RunAs } from "./run-as.ts";
import type { ServerFault } from "./server-fault.ts";
import { tailLog } from "./site-folder.ts";

/** How a server process that was running ended. */
export type ServerExit = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** `true` after `stop()`; else it died, and a supervisor starts it again. */
  readonly expected: boolean;
  readonly logTail: readonly string[];
};

/** What is run: program and parameters, and what it gets besides `PATH`, `LANG` and `HOME`. */
export type Launch = { readonly command: readonly string[]; readonly env?: Readonly<Record<string, string>> };

/** What the life of a server process leaves to the product that runs in it. */
export type ServerPart = {
  readonly folder: string;
  readonly log: string;
  /** Everything that can be found wrong before there is a process; what to run. */
  prepare(deadlineMs: number): Promise<Result<Launch, ServerFault>>;
  /** Whether it answers by now. */
  answers(): Promise<boolean>;
  /** Checks and finishes what answers: ports, modules, accounts. */
  settle(lastWords: () => Promise<readonly string[]>): Promise<Result<void, ServerFault>>;
  /** Once a minute while it runs; may throw. */
  tend(): Promise<void>;
  /** Takes away what a process leaves that was ended at a bad moment. */
  tidy(): Promise<void>;
};

export type LifeLimits = {
  /** From the call of `start()` until everything answers; 15 s if not given. */
  readonly startTimeoutMs?: number;
  /** Between SIGTERM and SIGKILL; 5 s if not given. */
  readonly stopTimeoutMs?: number;
};

const TEND_EVERY_MS = 60_000;
const POLL_MS = 15;
const LOG_LINES = 12;
const OUTPUT_CHARACTERS_MAX = 4096;

/**
 * The life of one server as a child process. It does not restart by itself.
 *
 *     stopped ──start()──► starting ──everything answers──► running ──stop() or death──► stopped
 */
export class ServerLife {
  readonly #part: ServerPart;
  readonly #limits: LifeLimits;
  readonly #clock: Clock;
  readonly #exitListeners = new Set<(exit: ServerExit) => void>();
  #starting: Promise<Result<void, ServerFault>> | undefined;
  #child: ChildProcess | undefined;
  #ended: Promise<ServerExit> | undefined;
  #running = false;
  #stopping = false;
  #output = "";
  #untend: CancelTimer = () => {};

  constructor(part: ServerPart, limits: LifeLimits, clock: Clock) {
    this.#part = part;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Process id while there is a process. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Between SIGTERM and SIGKILL. */
  get patienceMs(): number {
    return this.#limits.stopTimeoutMs ?? 5_000;
  }

  /** Calls `listener` each time a running server ends, not for failed starts; the function returned takes it away. */
  onExit(listener: (exit: ServerExit) => void): () => void {
    this.#exitListeners.add(listener);
    return () => this.#exitListeners.delete(listener);
  }

  /** Brings the server up; when it fails nothing is left running. Starting a running server does nothing. */
  async start(): Promise<Result<void, ServerFault>> {
    if (this.#running) return ok(undefined);
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return await this.#starting;
  }

  /** SIGTERM, then SIGKILL; resolves when the process is gone. A start under way is called off. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#end();
    await this.#starting;
  }

  async #start(): Promise<Result<void, ServerFault>> {
    this.#stopping = false;
    const deadlineMs = this.#clock.nowMs() + (this.#limits.startTimeoutMs ?? 15_000);
    const prepared = await this.#part.prepare(deadlineMs);
    if (!prepared.ok) return prepared;
    if (this.#stopping) return err({ kind: "called-off" });
    const ended = this.#spawn(prepared.value);
    const settled = await this.#settle(ended, deadlineMs);
    if (settled.ok && this.#child !== undefined && !this.#stopping) {
      this.#running = true;
      this.#tendLater();
      return settled;
    }
    await this.#end();
    if (this.#stopping) return err({ kind: "called-off" });
    if (!settled.ok) return settled;
    return err({ kind: "died-at-start", exit: "once it had answered", logTail: await this.#lastWords() });
  }

  #spawn({ command, env }: Launch): Promise<ServerExit> {
    const [program = "", ...parameters] = command;
    // A session of its own, so that Ctrl-C in the terminal reaches the supervisor alone, which stops things in order.
    const child = spawn(program, parameters, {
      cwd: this.#part.folder,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", HOME: this.#part.folder, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#output = "";
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString("utf8")).slice(-OUTPUT_CHARACTERS_MAX);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const ended = new Promise<ServerExit>((resolve) => {
      child.once("close", async (code, signal) => {
        const exit = { code, signal, expected: this.#stopping, logTail: await this.#lastWords() };
        const wasRunning = this.#running;
        this.#child = undefined;
        this.#ended = undefined;
        this.#running = false;
        this.#untend();
        resolve(exit);
        if (wasRunning) for (const listener of this.#exitListeners) listener(exit);
      });
      // A program that cannot be run at all closes with a negative code right after.
      child.once("error", (error) => keep(Buffer.from(error.message)));
    });
    this.#child = child;
    this.#ended = ended;
    return ended;
  }

  /** Ends the process, if any. */
  async #end(): Promise<void> {
    const child = this.#child;
    const ended = this.#ended;
    if (child === undefined || ended === undefined) return;
    child.kill("SIGTERM");
    const cancel = this.#clock.setTimer(this.patienceMs, () => child.kill("SIGKILL"));
    await ended;
    cancel();
    await this.#part.tidy();
  }

  /** Waits until the server answers and checks it; gives up when it ends or time is over. */
  async #settle(ended: Promise<ServerExit>, deadlineMs: number): Promise<Result<void, ServerFault>> {
    let died: ServerExit | undefined;
    ended.then((exit) => {
      died = exit;
    });
    const startedMs = this.#clock.nowMs();
    while (!(await this.#part.answers())) {
      if (died !== undefined) return err({ kind: "died-at-start", exit: exitText(died), logTail: died.logTail });
      if (this.#clock.nowMs() >= deadlineMs) {
        const waitedMs = Math.round(this.#clock.nowMs() - startedMs);
        return err({ kind: "start-timed-out", waitedMs, logTail: await this.#lastWords() });
      }
      await pause(POLL_MS);
    }
    return await this.#part.settle(() => this.#lastWords());
  }

  #tendLater(): void {
    this.#untend = this.#clock.setTimer(TEND_EVERY_MS, async () => {
      // What goes wrong here (a full disk, a stop meanwhile) must not end the supervisor; the next look is in a minute.
      await this.#part.tend().catch(() => {});
      if (this.#running) this.#tendLater();
    });
  }

  async #lastWords(): Promise<readonly string[]> {
    const printed = this.#output.trim();
    return [
      ...(await tailLog(this.#part.log, LOG_LINES)),
      ...(printed === "" ? [] : printed.split("\n").slice(-LOG_LINES)),
    ];
  }
}

/** `setpriv` parameters: the child dies with us, also when we are killed, and has neither our user nor our groups. */
export function privileges(runAs: RunAs): readonly string[] {
  const user = runAs === undefined ? [] : ["--reuid", `${runAs.uid}`, "--regid", `${runAs.gid}`, "--clear-groups"];
  return ["--pdeathsig", "TERM", ...user, "--"];
}

function exitText({ code, signal }: ServerExit): string {
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}
