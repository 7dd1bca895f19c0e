import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { type CancelTimer, type Clock, err, ok, type Result, systemClock } from "@muster/base";
import { type Account, type EnrolmentToken, ensureAccount, mintToken, removeAccount } from "./account-commands.ts";
import { adminEvaluate } from "./admin-shell.ts";
import { endLeftover } from "./leftover.ts";
import { checkFree, checkReadable, type Endpoint, findBinary } from "./preflight.ts";
import { PROSODY_PORTS, type ProsodySite, type SiteFiles, siteFaults, siteFiles } from "./prosody-site.ts";
import { checkReady } from "./readiness.ts";
import { findRunAs, type RunAs } from "./run-as.ts";
import type { ServerFault } from "./server-fault.ts";
import { MODULES_FOLDER, prepareFolder, rotateLog, tailLog, writeSite } from "./site-folder.ts";

/** How a server process that was running ended. */
export type ServerExit = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** `true` after `stop()`; else it died, and a supervisor starts it again. */
  readonly expected: boolean;
  readonly logTail: readonly string[];
};

export type ProsodyServerOptions = {
  readonly site: ProsodySite;
  /** Accounts that exist after every start with these passwords; others are left alone. */
  readonly accounts?: readonly Account[];
  /** User to run as where started as root; `prosody`, which comes with the package, if not given. */
  readonly user?: string;
  /** Folder of our Prosody modules; the checkout's if not given. */
  readonly modulesFolder?: string;
  /** From the call of `start()` until everything answers; 15 s if not given. */
  readonly startTimeoutMs?: number;
  /** Between SIGTERM and SIGKILL; 5 s if not given. */
  readonly stopTimeoutMs?: number;
  /** A longer log is set aside as `prosody.log.1`, looked at every minute; 8 MiB if not given. */
  readonly logBytesMax?: number;
  readonly clock?: Clock;
};

const LOG_CHECK_MS = 60_000;
const LOG_BYTES_MAX = 8 * 1024 * 1024;
const POLL_MS = 15;
const LOG_LINES = 12;
/** What SIGHUP does, but it answers when it is done. Prosody returns warnings beside success: they are not an error. */
const RELOAD =
  '(function() local done, why = prosody.reload_config(); if done then return "done"; end return nil, why; end)()';
const OUTPUT_CHARACTERS_MAX = 4096;

/**
 * One site's XMPP server as a child process: writes its configuration, starts it unprivileged, waits until it answers,
 * keeps its accounts, stops it. It does not restart by itself: listen with `onExit` and call `start()` again.
 *
 *     stopped ──start()──► starting ──everything answers──► running ──stop() or death──► stopped
 */
export class ProsodyServer {
  readonly #options: ProsodyServerOptions;
  readonly #clock: Clock;
  readonly #exitListeners = new Set<(exit: ServerExit) => void>();
  #site: ProsodySite;
  #runAs: RunAs;
  #starting: Promise<Result<void, ServerFault>> | undefined;
  #child: ChildProcess | undefined;
  #ended: Promise<ServerExit> | undefined;
  #running = false;
  #stopping = false;
  #output = "";
  #unwatchLog: CancelTimer = () => {};

  constructor(options: ProsodyServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#site = options.site;
  }

  /** Process id while there is a process. */
  get pid(): number | undefined {
    return this.#child?.pid;
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

  /**
   * Takes over another list of peers and names: streams of former peers are closed. A server that is not running has
   * them from its next start on. Every other setting needs another `ProsodyServer`.
   */
  async reload(change: Pick<ProsodySite, "peers" | "names">): Promise<Result<void, ServerFault>> {
    const site = { ...this.#site, ...change };
    const faults = siteFaults(site);
    if (faults.length > 0) return err({ kind: "bad-site", faults });
    this.#site = site;
    if (!this.#running) return ok(undefined);
    const written = await writeSite(site, this.#runAs, this.#modulesFolder());
    if (!written.ok) return written;
    const reloaded = await adminEvaluate(this.#files().adminSocket, RELOAD);
    return reloaded.ok ? ok(undefined) : reloaded;
  }

  /** Makes an account, or gives an existing one this password; one that has it already is not disturbed. */
  ensureAccount(account: Account): Promise<Result<void, ServerFault>> {
    return ensureAccount(this.#accountHost(), account);
  }

  /** Deletes an account, its unused tokens and its sessions; tells whether there was one. */
  removeAccount(name: string): Promise<Result<boolean, ServerFault>> {
    return removeAccount(this.#accountHost(), name);
  }

  /**
   * Mints a token for one account, which must not exist, good for 1 s to 7 days. For whoever runs the server; a cluster
   * manager asks the server in-band, see `mod_muster_enrol`.
   */
  enrolmentToken(account: string, ttlSeconds: number): Promise<Result<EnrolmentToken, ServerFault>> {
    return mintToken(this.#accountHost(), account, ttlSeconds);
  }

  async #start(): Promise<Result<void, ServerFault>> {
    this.#stopping = false;
    const deadlineMs = this.#clock.nowMs() + (this.#options.startTimeoutMs ?? 15_000);
    const prepared = await this.#prepare(deadlineMs);
    if (!prepared.ok) return prepared;
    if (this.#stopping) return err({ kind: "called-off" });
    const ended = this.#spawn(prepared.value);
    const settled = await this.#settle(ended, deadlineMs);
    if (settled.ok && this.#child !== undefined && !this.#stopping) {
      this.#running = true;
      this.#watchLog();
      return settled;
    }
    await this.#end();
    if (this.#stopping) return err({ kind: "called-off" });
    if (!settled.ok) return settled;
    return err({ kind: "died-at-start", exit: "once it had answered", logTail: await this.#lastWords() });
  }

  /** Everything that can be found wrong before there is a process; the command to run. */
  async #prepare(deadlineMs: number): Promise<Result<readonly string[], ServerFault>> {
    const faults = siteFaults(this.#site);
    if (faults.length > 0) return err({ kind: "bad-site", faults });
    const prosody = await findBinary("prosody", "prosody lua-unbound");
    if (!prosody.ok) return prosody;
    const setpriv = await findBinary("setpriv", "util-linux");
    if (!setpriv.ok) return setpriv;
    const runAs = await findRunAs(this.#options.user ?? "prosody");
    if (!runAs.ok) return runAs;
    this.#runAs = runAs.value;
    const folder = await prepareFolder(this.#site, runAs.value);
    if (!folder.ok) return folder;
    const left = await endLeftover(this.#files(), { patienceMs: this.#patienceMs(), deadlineMs }, this.#clock);
    if (!left.ok) return left;
    const free = await checkFree(this.#endpoints());
    if (!free.ok) return free;
    const readable = await checkReadable(this.#tlsPaths());
    if (!readable.ok) return readable;
    await rotateLog(this.#site, this.#logBytesMax());
    const written = await writeSite(this.#site, runAs.value, this.#modulesFolder());
    if (!written.ok) return written;
    return ok([setpriv.value, ...privileges(runAs.value), prosody.value, "--config", this.#files().config, "-F"]);
  }

  #spawn(command: readonly string[]): Promise<ServerExit> {
    const [program = "", ...parameters] = command;
    // A session of its own, so that Ctrl-C in the terminal reaches the supervisor alone, which stops things in order.
    const child = spawn(program, parameters, {
      cwd: this.#site.folder,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", HOME: this.#site.folder },
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
        this.#unwatchLog();
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
    const cancel = this.#clock.setTimer(this.#patienceMs(), () => child.kill("SIGKILL"));
    await ended;
    cancel();
    // Prosody removes its socket itself, unless it is ended while it still starts.
    await rm(this.#files().adminSocket, { force: true });
  }

  /** Waits until the server answers, checks it, makes the accounts; gives up when it ends or time is over. */
  async #settle(ended: Promise<ServerExit>, deadlineMs: number): Promise<Result<void, ServerFault>> {
    let died: ServerExit | undefined;
    ended.then((exit) => {
      died = exit;
    });
    const startedMs = this.#clock.nowMs();
    // The shell answers from the main loop, and by then every port is open or never will be.
    while (!(await adminEvaluate(this.#files().adminSocket, "true")).ok) {
      if (died !== undefined) return err({ kind: "died-at-start", exit: exitText(died), logTail: died.logTail });
      if (this.#clock.nowMs() >= deadlineMs) {
        const waitedMs = Math.round(this.#clock.nowMs() - startedMs);
        return err({ kind: "start-timed-out", waitedMs, logTail: await this.#lastWords() });
      }
      await pause(POLL_MS);
    }
    const ready = await checkReady(this.#site, this.#endpoints(), () => this.#lastWords());
    if (!ready.ok) return ready;
    for (const account of this.#options.accounts ?? []) {
      const ensured = await this.ensureAccount(account);
      if (!ensured.ok) return ensured;
    }
    return ok(undefined);
  }

  #watchLog(): void {
    this.#unwatchLog = this.#clock.setTimer(LOG_CHECK_MS, async () => {
      // What goes wrong here (a full disk, a stop meanwhile) must not end the supervisor; the next look is in a minute.
      const rotated = await rotateLog(this.#site, this.#logBytesMax()).catch(() => false);
      if (rotated) await adminEvaluate(this.#files().adminSocket, "prosody.reopen_logfiles()");
      if (this.#running) this.#watchLog();
    });
  }

  async #lastWords(): Promise<readonly string[]> {
    const printed = this.#output.trim();
    return [
      ...(await tailLog(this.#site, LOG_LINES)),
      ...(printed === "" ? [] : printed.split("\n").slice(-LOG_LINES)),
    ];
  }

  #endpoints(): readonly Endpoint[] {
    const { address, componentAddress = address, componentTls } = this.#site;
    const ports = { ...PROSODY_PORTS, ...this.#site.ports };
    return [
      ...[ports.client, ports.clientTls, ports.server].map((port) => ({ address, port })),
      { address: componentAddress, port: ports.component },
      ...(componentTls === undefined ? [] : [{ address: componentTls.address ?? address, port: ports.componentTls }]),
    ];
  }

  #tlsPaths(): readonly string[] {
    const { keyPath, certificatePath, caPath } = this.#site.tls;
    const managersCa = this.#site.componentTls?.caPath;
    return [keyPath, certificatePath, caPath, ...(managersCa === undefined ? [] : [managersCa])];
  }

  #files(): SiteFiles {
    return siteFiles(this.#site.folder);
  }

  #accountHost() {
    return { adminSocket: this.#files().adminSocket, domain: this.#site.domain };
  }

  #modulesFolder(): string {
    return this.#options.modulesFolder ?? MODULES_FOLDER;
  }

  #logBytesMax(): number {
    return this.#options.logBytesMax ?? LOG_BYTES_MAX;
  }

  #patienceMs(): number {
    return this.#options.stopTimeoutMs ?? 5_000;
  }
}

/** The child dies with us, also when we are killed, and has neither our user nor our groups. */
function privileges(runAs: RunAs): readonly string[] {
  const user = runAs === undefined ? [] : ["--reuid", `${runAs.uid}`, "--regid", `${runAs.gid}`, "--clear-groups"];
  return ["--pdeathsig", "TERM", ...user, "--"];
}

function exitText({ code, signal }: ServerExit): string {
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}
