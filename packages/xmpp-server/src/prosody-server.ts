import { rm } from "node:fs/promises";
import { type Clock, err, ok, type Result, systemClock } from "@muster/base";
import { type Account, type EnrolmentToken, ensureAccount, mintToken, removeAccount } from "./account-commands.ts";
import { adminEvaluate } from "./admin-shell.ts";
import { endLeftover } from "./leftover.ts";
import { checkFree, checkReadable, type Endpoint, findBinary } from "./preflight.ts";
import { PROSODY_PORTS, type ProsodySite, type SiteFiles, siteFaults, siteFiles } from "./prosody-site.ts";
import { checkReady } from "./readiness.ts";
import { findRunAs, type RunAs } from "./run-as.ts";
import type { ServerFault } from "./server-fault.ts";
import { type Launch, type LifeLimits, privileges, type ServerExit, ServerLife } from "./server-life.ts";
import { MODULES_FOLDER, prepareFolder, rotateLog, writeSite } from "./site-folder.ts";

export type ProsodyServerOptions = LifeLimits & {
  readonly site: ProsodySite;
  /** Accounts that exist after every start with these passwords; others are left alone. */
  readonly accounts?: readonly Account[];
  /** User to run as where started as root; `prosody`, which comes with the package, if not given. */
  readonly user?: string;
  /** Folder of our Prosody modules; the checkout's if not given. */
  readonly modulesFolder?: string;
  /** A longer log is set aside as `prosody.log.1`, looked at every minute; 8 MiB if not given. */
  readonly logBytesMax?: number;
  readonly clock?: Clock;
};

const LOG_BYTES_MAX = 8 * 1024 * 1024;
/** What SIGHUP does, but it answers when it is done. Prosody returns warnings beside success: they are not an error. */
const RELOAD =
  '(function() local done, why = prosody.reload_config(); if done then return "done"; end return nil, why; end)()';

/**
 * One site's XMPP server as a child process: writes its configuration, starts it unprivileged, waits until it answers,
 * keeps its accounts, stops it. It does not restart by itself: listen with `onExit` and call `start()` again.
 */
export class ProsodyServer {
  readonly #options: ProsodyServerOptions;
  readonly #life: ServerLife;
  readonly #clock: Clock;
  #site: ProsodySite;
  #runAs: RunAs;

  constructor(options: ProsodyServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#site = options.site;
    const { adminSocket, log } = this.#files();
    const part = {
      folder: options.site.folder,
      log,
      prepare: (deadlineMs: number) => this.#prepare(deadlineMs),
      // The shell answers from the main loop, and by then every port is open or never will be.
      answers: async () => (await adminEvaluate(adminSocket, "true")).ok,
      settle: (lastWords: () => Promise<readonly string[]>) => this.#settle(lastWords),
      tend: async () => {
        if (await rotateLog(log, this.#logBytesMax())) await adminEvaluate(adminSocket, "prosody.reopen_logfiles()");
      },
      // Prosody removes its socket itself, unless it is ended while it still starts.
      tidy: () => rm(adminSocket, { force: true }),
    };
    this.#life = new ServerLife(part, options, this.#clock);
  }

  /** Process id while there is a process. */
  get pid(): number | undefined {
    return this.#life.pid;
  }

  /** Calls `listener` each time a running server ends, not for failed starts; the function returned takes it away. */
  onExit(listener: (exit: ServerExit) => void): () => void {
    return this.#life.onExit(listener);
  }

  /** Brings the server up; when it fails nothing is left running. Starting a running server does nothing. */
  start(): Promise<Result<void, ServerFault>> {
    return this.#life.start();
  }

  /** SIGTERM, then SIGKILL; resolves when the process is gone. A start under way is called off. */
  stop(): Promise<void> {
    return this.#life.stop();
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
    if (!this.#life.running) return ok(undefined);
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

  /** Everything that can be found wrong before there is a process; the command to run. */
  async #prepare(deadlineMs: number): Promise<Result<Launch, ServerFault>> {
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
    const left = await endLeftover(this.#files(), { patienceMs: this.#life.patienceMs, deadlineMs }, this.#clock);
    if (!left.ok) return left;
    const free = await checkFree(this.#endpoints());
    if (!free.ok) return free;
    const readable = await checkReadable(this.#tlsPaths());
    if (!readable.ok) return readable;
    await rotateLog(this.#files().log, this.#logBytesMax());
    const written = await writeSite(this.#site, runAs.value, this.#modulesFolder());
    if (!written.ok) return written;
    const server = [prosody.value, "--config", this.#files().config, "-F"];
    return ok({ command: [setpriv.value, ...privileges(runAs.value), ...server] });
  }

  /** Checks what runs, and makes the accounts. */
  async #settle(lastWords: () => Promise<readonly string[]>): Promise<Result<void, ServerFault>> {
    const ready = await checkReady(this.#site, this.#endpoints(), lastWords);
    if (!ready.ok) return ready;
    for (const account of this.#options.accounts ?? []) {
      const ensured = await this.ensureAccount(account);
      if (!ensured.ok) return ensured;
    }
    return ok(undefined);
  }

  #endpoints(): readonly Endpoint[] {
    const { address, componentAddress = address, componentTls } = this.#site;
    const ports = { ...PROSODY_PORTS, ...this.#site.ports };
    return [
      ...[ports.client, ports.clientTls].map((port) => ({ address, port })),
      ...(this.#site.outboundOnly === true ? [] : [{ address, port: ports.server }]),
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
}
