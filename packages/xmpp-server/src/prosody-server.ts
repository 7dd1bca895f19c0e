import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { type Clock, err, ok, type Result, systemClock } from "@muster/base";
import { adminEvaluate } from "./admin-shell.ts";
import { luaString } from "./lua.ts";
import { checkFree, type Endpoint, findBinary } from "./preflight.ts";
import { PROSODY_PORTS, type ProsodySite, siteFaults, siteFiles } from "./prosody-site.ts";
import { findRunAs, type RunAs } from "./run-as.ts";
import { errorCode, type ServerFault } from "./server-fault.ts";
import { MODULES_FOLDER, prepareFolder, rotateLog, tailLog, writeSite } from "./site-folder.ts";

/** An ordinary account of the site: for people and tests. Hosts enrol with a token instead. */
export type Account = { readonly name: string; readonly password: string };

/** A single-use token: allows in-band registration (XEP-0445) of exactly one account name. */
export type EnrolmentToken = {
  readonly account: string;
  readonly token: string;
  /** From now on. */
  readonly expiresSeconds: number;
};

/** How a server process ended. */
export type ServerExit = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** `true` after `stop()`; else somebody else ended it, and a supervisor starts it again. */
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
  /** From the call of `start()` until everything answers. */
  readonly startTimeoutMs?: number;
  /** Between SIGTERM and SIGKILL. */
  readonly stopTimeoutMs?: number;
  readonly clock?: Clock;
};

const POLL_MS = 15;
const LOG_LINES = 12;
const OUTPUT_BYTES_MAX = 4096;

/**
 * One site's XMPP server as a child process: writes its configuration, starts it unprivileged, waits until it answers,
 * keeps its accounts, stops it. It does not restart by itself: listen with `onExit` and call `start()` again.
 *
 *     stopped ──start()──► starting ──all ports answer──► running ──stop() or death──► stopped
 */
export class ProsodyServer {
  readonly #options: ProsodyServerOptions;
  readonly #clock: Clock;
  readonly #exitListeners = new Set<(exit: ServerExit) => void>();
  #site: ProsodySite;
  #runAs: RunAs;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #stopping = false;
  #output = "";

  constructor(options: ProsodyServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#site = options.site;
  }

  /** Process id while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Calls `listener` at every end of the process; the function returned takes it away. */
  onExit(listener: (exit: ServerExit) => void): () => void {
    this.#exitListeners.add(listener);
    return () => this.#exitListeners.delete(listener);
  }

  /** Brings the server up; when it fails nothing is left running. Starting a running server does nothing. */
  async start(): Promise<Result<void, ServerFault>> {
    if (this.#child !== undefined) return ok(undefined);
    const deadlineMs = this.#clock.nowMs() + (this.#options.startTimeoutMs ?? 15_000);
    const prepared = await this.#prepare(deadlineMs);
    if (!prepared.ok) return prepared;
    this.#spawn(prepared.value);
    const ready = await this.#untilReady(deadlineMs);
    const settled = ready.ok ? await this.#ensureAccounts() : ready;
    if (!settled.ok) await this.stop();
    return settled;
  }

  /** SIGTERM, then SIGKILL; resolves when the process is gone. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#stopping = true;
    child.kill("SIGTERM");
    const cancel = this.#clock.setTimer(this.#options.stopTimeoutMs ?? 5_000, () => child.kill("SIGKILL"));
    await this.#ended;
    cancel();
  }

  /**
   * Takes over another list of peers and names while it runs: streams of former peers are closed. Every other setting
   * needs a stop and a new server.
   */
  async reload(change: Pick<ProsodySite, "peers" | "names">): Promise<Result<void, ServerFault>> {
    const site = { ...this.#site, ...change };
    const faults = siteFaults(site);
    if (faults.length > 0) return err({ kind: "bad-site", faults });
    const written = await writeSite(site, this.#runAs, this.#options.modulesFolder ?? MODULES_FOLDER);
    if (!written.ok) return written;
    this.#site = site;
    // The same as SIGHUP, but it tells when it is done.
    const reloaded = await this.#evaluate("prosody.reload_config()");
    return reloaded.ok ? ok(undefined) : reloaded;
  }

  /** Makes an account, or gives an existing one this password; an account that has it already is not disturbed. */
  async ensureAccount(account: Account): Promise<Result<void, ServerFault>> {
    const [name, password, host] = [account.name, account.password, this.#site.domain].map(luaString);
    const done = await this.#evaluate(
      `(function(name, password, host)
        local users = require "core.usermanager";
        local nodeprep = require "util.encodings".stringprep.nodeprep;
        if name == "" or nodeprep(name, true) ~= name then return "not a valid account name"; end
        if not users.user_exists(name, host) then
          local made, why = users.create_user(name, password, host);
          return made and "done" or tostring(why);
        end
        if users.test_password(name, host, password) then return "done"; end
        local set, why = users.set_password(name, password, host, nil);
        return set and "done" or tostring(why);
      end)(${name}, ${password}, ${host})`,
    );
    if (!done.ok) return done;
    if (done.value === "done") return ok(undefined);
    return err({ kind: "admin-failed", reason: `account ${account.name.slice(0, 64)}: ${done.value}` });
  }

  /** Deletes an account, its unused tokens and its sessions; tells whether there was one. */
  async removeAccount(name: string): Promise<Result<boolean, ServerFault>> {
    const removed = await this.#evaluate(`${this.#enrolModule()}.revoke(${luaString(name)})`);
    return removed.ok ? ok(removed.value === "true") : removed;
  }

  /**
   * Mints a token for one account, which must not exist. For whoever runs the server; a cluster manager asks the server
   * in-band, see `mod_muster_enrol`.
   */
  async enrolmentToken(account: string, ttlSeconds: number): Promise<Result<EnrolmentToken, ServerFault>> {
    const minted = await this.#evaluate(
      `(function() local token, detail = ${this.#enrolModule()}.mint(${luaString(account)}, ${Math.trunc(ttlSeconds)});
        if token then return token; end return nil, detail; end)()`,
    );
    if (minted.ok) return ok({ account, token: minted.value, expiresSeconds: Math.trunc(ttlSeconds) });
    if (minted.error.kind === "admin-failed" && minted.error.reason.includes("conflict"))
      return err({ kind: "account-exists", account });
    return minted;
  }

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
    const left = await this.#endLeftover(deadlineMs);
    if (!left.ok) return left;
    const free = await checkFree(this.#endpoints());
    if (!free.ok) return free;
    await rotateLog(this.#site);
    const written = await writeSite(this.#site, runAs.value, this.#options.modulesFolder ?? MODULES_FOLDER);
    if (!written.ok) return written;
    return ok([setpriv.value, ...privileges(runAs.value), prosody.value, "--config", this.#files().config, "-F"]);
  }

  #spawn(command: readonly string[]): void {
    const [program = "", ...parameters] = command;
    // A session of its own, so that Ctrl-C in the terminal reaches the supervisor alone, which stops things in order.
    const child = spawn(program, parameters, {
      cwd: this.#site.folder,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", HOME: this.#site.folder },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#output = "";
    this.#stopping = false;
    this.#child = child;
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString("utf8")).slice(-OUTPUT_BYTES_MAX);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    this.#ended = new Promise((resolve) => {
      const end = async (code: number | null, signal: NodeJS.Signals | null): Promise<void> => {
        if (this.#child !== child) return;
        this.#child = undefined;
        const exit = { code, signal, expected: this.#stopping, logTail: await this.#lastWords() };
        resolve();
        for (const listener of this.#exitListeners) listener(exit);
      };
      child.once("exit", end);
      child.once("error", () => end(null, null));
    });
  }

  async #untilReady(deadlineMs: number): Promise<Result<void, ServerFault>> {
    const startedMs = this.#clock.nowMs();
    let waitingFor = "its admin socket";
    let exit: ServerExit | undefined;
    const forget = this.onExit((seen) => {
      exit = seen;
    });
    try {
      while (this.#clock.nowMs() < deadlineMs) {
        if (this.#child === undefined) {
          await this.#ended;
          return err({ kind: "died-at-start", exit: exitText(exit), logTail: exit?.logTail ?? [] });
        }
        const pending = await this.#pending();
        if (pending === undefined) return await this.#checkResolver();
        waitingFor = pending;
        await this.#pause(POLL_MS);
      }
      const waitedMs = Math.round(this.#clock.nowMs() - startedMs);
      return err({ kind: "start-timed-out", waitedMs, waitingFor, logTail: await this.#lastWords() });
    } finally {
      forget();
    }
  }

  /** What does not answer yet. */
  async #pending(): Promise<string | undefined> {
    for (const { address, port } of this.#endpoints())
      if (!(await answers({ address: address === "0.0.0.0" ? "127.0.0.1" : address, port }))) return `port ${port}`;
    const shell = await this.#evaluate("true");
    return shell.ok ? undefined : "its admin socket";
  }

  /** Without lua-unbound Prosody falls back to a resolver that ignores the private hosts file. */
  async #checkResolver(): Promise<Result<void, ServerFault>> {
    const loaded = await this.#evaluate('pcall(require, "lunbound") and "yes" or "no"');
    if (!loaded.ok) return loaded;
    if (loaded.value === "yes" || this.#site.names === undefined) return ok(undefined);
    return err({ kind: "binary-missing", binary: "Prosody's resolver library", debianPackage: "lua-unbound" });
  }

  async #ensureAccounts(): Promise<Result<void, ServerFault>> {
    for (const account of this.#options.accounts ?? []) {
      const ensured = await this.ensureAccount(account);
      if (!ensured.ok) return ensured;
    }
    return ok(undefined);
  }

  /** Ends a server of this very folder that outlived its supervisor; a stale pid file is passed over. */
  async #endLeftover(deadlineMs: number): Promise<Result<void, ServerFault>> {
    const files = this.#files();
    const pid = Number((await readFile(files.pid, "utf8").catch(() => "")).trim());
    const serves = async (): Promise<boolean> => {
      const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return command.split("\0").includes(files.config);
    };
    if (!Number.isInteger(pid) || pid <= 1 || !(await serves())) return ok(undefined);
    signal(pid, "SIGTERM");
    const killMs = Math.min(deadlineMs, this.#clock.nowMs() + (this.#options.stopTimeoutMs ?? 5_000));
    let killed = false;
    while (await serves()) {
      if (this.#clock.nowMs() >= deadlineMs) return err({ kind: "already-running", pid, path: this.#site.folder });
      if (!killed && this.#clock.nowMs() >= killMs) killed = signal(pid, "SIGKILL");
      await this.#pause(POLL_MS);
    }
    return ok(undefined);
  }

  #evaluate(expression: string): Promise<Result<string, ServerFault>> {
    return adminEvaluate(this.#files().adminSocket, expression.replaceAll(/\s*\n\s*/g, " "));
  }

  #enrolModule(): string {
    return `require "core.modulemanager".get_module(${luaString(this.#site.domain)}, "muster_enrol")`;
  }

  #endpoints(): readonly Endpoint[] {
    const { address, componentAddress = address } = this.#site;
    const ports = { ...PROSODY_PORTS, ...this.#site.ports };
    return [
      ...[ports.client, ports.clientTls, ports.server].map((port) => ({ address, port })),
      { address: componentAddress, port: ports.component },
    ];
  }

  #files() {
    return siteFiles(this.#site.folder);
  }

  async #lastWords(): Promise<readonly string[]> {
    const printed = this.#output.trim();
    return [
      ...(await tailLog(this.#site, LOG_LINES)),
      ...(printed === "" ? [] : printed.split("\n").slice(-LOG_LINES)),
    ];
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimer(delayMs, resolve);
    });
  }
}

/** The child dies with us, also when we are killed, and has neither our user nor our groups. */
function privileges(runAs: RunAs): readonly string[] {
  const user = runAs === undefined ? [] : ["--reuid", `${runAs.uid}`, "--regid", `${runAs.gid}`, "--clear-groups"];
  return ["--pdeathsig", "TERM", ...user, "--"];
}

function signal(pid: number, name: NodeJS.Signals): true {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
  return true;
}

function answers({ address, port }: Endpoint): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const settle = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

function exitText(exit: ServerExit | undefined): string {
  if (exit === undefined || (exit.code === null && exit.signal === null)) return "it could not be run";
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}
