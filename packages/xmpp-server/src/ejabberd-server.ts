import { rm } from "node:fs/promises";
import { type Clock, err, ok, type Result, systemClock } from "@muster/base";
import type { Account } from "./account-commands.ts";
import { ejabberdAnswers, ensureEjabberdAccount, reloadEjabberd, removeEjabberdAccount } from "./ejabberd-admin.ts";
import { compileModule, EJABBERD_MODULES_FOLDER, prepareEjabberdFolder, writeEjabberdSite } from "./ejabberd-folder.ts";
import { type EjabberdFiles, type EjabberdSite, ejabberdFaults, ejabberdFiles } from "./ejabberd-site.ts";
import { endLeftover } from "./leftover.ts";
import { checkFree, checkReadable, type Endpoint, findBinary } from "./preflight.ts";
import { PROSODY_PORTS } from "./prosody-site.ts";
import { checkPorts } from "./readiness.ts";
import { findRunAs, type RunAs } from "./run-as.ts";
import type { ServerFault } from "./server-fault.ts";
import { type Launch, type LifeLimits, privileges, type ServerExit, ServerLife } from "./server-life.ts";

export type EjabberdServerOptions = LifeLimits & {
  readonly site: EjabberdSite;
  /** Accounts that exist after every start with these passwords; others are left alone. */
  readonly accounts?: readonly Account[];
  /** User to run as where started as root; `ejabberd`, which comes with the package, if not given. */
  readonly user?: string;
  /** Folder of our module's source; the checkout's if not given. */
  readonly modulesFolder?: string;
  readonly clock?: Clock;
};

/** Erlang starts slower than Lua, the more so where others compute. */
const START_TIMEOUT_MS = 60_000;
/** Where Debian's package has the Erlang applications of ejabberd. */
const LIBRARIES = "/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu:/usr/lib";

/**
 * One site's ejabberd 23.01 as a child process, with the same promises as `ProsodyServer`: unprivileged, everything in the
 * site's folder, answering when `start()` resolves, gone when `stop()` does. It runs as an Erlang node without a name, so
 * there is no epmd, no cookie and no port for other nodes; commands go over a unix socket.
 *
 * A site with `names` sees these and no others: they stand in the place of /etc/hosts for this process alone (ejabberd asks
 * the C library), which needs root or user namespaces.
 */
export class EjabberdServer {
  readonly #options: EjabberdServerOptions;
  readonly #life: ServerLife;
  readonly #clock: Clock;
  #site: EjabberdSite;
  #runAs: RunAs;

  constructor(options: EjabberdServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#site = options.site;
    const { adminSocket, log } = this.#files();
    const part = {
      folder: options.site.folder,
      log,
      prepare: (deadlineMs: number) => this.#prepare(deadlineMs),
      answers: () => ejabberdAnswers(adminSocket),
      settle: (lastWords: () => Promise<readonly string[]>) => this.#settle(lastWords),
      // It turns its log over by itself.
      tend: async () => {},
      // It leaves its socket behind, and would not start over it as another user.
      tidy: () => rm(adminSocket, { force: true }),
    };
    this.#life = new ServerLife(part, { startTimeoutMs: START_TIMEOUT_MS, ...options }, this.#clock);
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
   * Takes over another list of peers, until the site's leader has set its own; a server that is not running has it from its
   * next start on, and so it is with names: those of a running process stay as they were.
   */
  async reload(change: Partial<Pick<EjabberdSite, "peers" | "names">>): Promise<Result<void, ServerFault>> {
    const site = { ...this.#site, ...change };
    const faults = ejabberdFaults(site);
    if (faults.length > 0) return err({ kind: "bad-site", faults });
    this.#site = site;
    if (!this.#life.running) return ok(undefined);
    const written = await writeEjabberdSite(site, this.#runAs);
    return written.ok ? await reloadEjabberd(this.#files().adminSocket) : written;
  }

  /** Makes an account, or gives an existing one this password; one that has it already is not disturbed. */
  ensureAccount(account: Account): Promise<Result<void, ServerFault>> {
    return ensureEjabberdAccount(this.#accountHost(), account);
  }

  /** Deletes an account and its sessions; tells whether there was one. */
  removeAccount(name: string): Promise<Result<boolean, ServerFault>> {
    return removeEjabberdAccount(this.#accountHost(), name);
  }

  /** Everything that can be found wrong before there is a process; what to run. */
  async #prepare(deadlineMs: number): Promise<Result<Launch, ServerFault>> {
    const faults = ejabberdFaults(this.#site);
    if (faults.length > 0) return err({ kind: "bad-site", faults });
    const programs = await findPrograms(this.#site.names !== undefined);
    if (!programs.ok) return programs;
    const runAs = await findRunAs(this.#options.user ?? "ejabberd");
    if (!runAs.ok) return runAs;
    this.#runAs = runAs.value;
    const folder = await prepareEjabberdFolder(this.#site, runAs.value);
    if (!folder.ok) return folder;
    const patience = { patienceMs: this.#life.patienceMs, deadlineMs };
    const left = await endLeftover(this.#files(), patience, this.#clock);
    if (!left.ok) return left;
    await rm(this.#files().adminSocket, { force: true });
    const free = await checkFree(this.#endpoints());
    if (!free.ok) return free;
    const { keyPath, certificatePath, caPath } = this.#site.tls;
    const readable = await checkReadable([keyPath, certificatePath, caPath]);
    if (!readable.ok) return readable;
    const modules = this.#options.modulesFolder ?? EJABBERD_MODULES_FOLDER;
    const compiled = await compileModule(this.#site, programs.value.erlc, modules, runAs.value);
    if (!compiled.ok) return compiled;
    const written = await writeEjabberdSite(this.#site, runAs.value);
    return written.ok ? ok(this.#launch(programs.value)) : written;
  }

  #launch({ setpriv, unshare, erl }: Programs): Launch {
    const { config, hosts, nsswitch, spool, modules, log, pid, inetrc } = this.#files();
    const server = [
      ...[setpriv, ...privileges(this.#runAs), erl, "-noinput", "+K", "true", "+sbwt", "none", "-pa", modules],
      // The name of the configuration is there to be found among all processes (`endLeftover`).
      ...["-mnesia", "dir", `"${spool}"`, "-s", "ejabberd", "-extra", config],
    ];
    const env = {
      ERL_LIBS: LIBRARIES,
      EJABBERD_CONFIG_PATH: config,
      EJABBERD_LOG_PATH: log,
      EJABBERD_PID_PATH: pid,
      ERL_INETRC: inetrc,
      ERL_CRASH_DUMP_BYTES: "0",
    };
    if (unshare === undefined) return { command: server, env };
    const inOwnNames = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"';
    const own = this.#runAs === undefined ? ["--user", "--map-root-user", "--mount"] : ["--mount"];
    return { command: [unshare, ...own, "--", "sh", "-c", inOwnNames, "sh", hosts, nsswitch, ...server], env };
  }

  /** Checks what runs, and makes the accounts. */
  async #settle(lastWords: () => Promise<readonly string[]>): Promise<Result<void, ServerFault>> {
    const ready = await checkPorts(this.#endpoints(), lastWords);
    if (!ready.ok) return ready;
    for (const account of this.#options.accounts ?? []) {
      const ensured = await this.ensureAccount(account);
      if (!ensured.ok) return ensured;
    }
    return ok(undefined);
  }

  #endpoints(): readonly Endpoint[] {
    const { address, componentAddress = address } = this.#site;
    const ports = { ...PROSODY_PORTS, ...this.#site.ports };
    return [
      ...[ports.client, ports.clientTls].map((port) => ({ address, port })),
      ...(this.#site.outboundOnly === true ? [] : [{ address, port: ports.server }]),
      { address: componentAddress, port: ports.component },
    ];
  }

  #files(): EjabberdFiles {
    return ejabberdFiles(this.#site.folder);
  }

  #accountHost() {
    return { adminSocket: this.#files().adminSocket, domain: this.#site.domain };
  }
}

type Programs = {
  readonly setpriv: string;
  readonly erl: string;
  readonly erlc: string;
  /** Where the site has names of its own. */
  readonly unshare: string | undefined;
};

async function findPrograms(ownNames: boolean): Promise<Result<Programs, ServerFault>> {
  const server = await findBinary("ejabberdctl", "ejabberd");
  if (!server.ok) return server;
  const setpriv = await findBinary("setpriv", "util-linux");
  if (!setpriv.ok) return setpriv;
  const erl = await findBinary("erl", "erlang-base");
  if (!erl.ok) return erl;
  const erlc = await findBinary("erlc", "erlang-base");
  if (!erlc.ok) return erlc;
  const unshare = ownNames ? await findBinary("unshare", "util-linux") : ok(undefined);
  if (!unshare.ok) return unshare;
  return ok({ setpriv: setpriv.value, erl: erl.value, erlc: erlc.value, unshare: unshare.value });
}
