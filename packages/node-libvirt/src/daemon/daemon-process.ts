import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { DaemonFailed } from "../fault.ts";
import type { DaemonFiles } from "./daemon-files.ts";

/** Characters kept of what the daemon writes. */
const LOG_CHARS_MAX = 16_384;

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A libvirtd that this process started. */
export interface DaemonProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** The end of what it wrote to its standard error. */
  readonly log: () => string;
  readonly kill: (signal: NodeJS.Signals) => void;
}

/**
 * Starts libvirtd in the foreground over `files`. Where util-linux's `setpriv` is there, the kernel ends the daemon
 * when this process dies, however that happens. Throws {@link DaemonFailed} where libvirtd cannot be found.
 */
export async function spawnDaemon(
  files: DaemonFiles,
  libvirtdPath: string | undefined,
  launch: Launch = withoutHypervisor,
): Promise<DaemonProcess> {
  const libvirtd = libvirtdPath ?? (await findProgram("libvirtd"));
  if (libvirtd === undefined || !(await isExecutable(libvirtd))) {
    const what = libvirtd === undefined ? "libvirtd was not found" : `${libvirtd} cannot be run`;
    throw new DaemonFailed(`${what}: install it (Debian: apt-get install --no-install-recommends libvirt-daemon)`);
  }
  const setpriv = await findProgram("setpriv");
  const command = launch([libvirtd, "-f", files.confFile, "-p", files.pidFile], files);
  const [program = libvirtd, ...args] =
    setpriv === undefined ? command.words : [setpriv, "--pdeathsig", "SIGTERM", "--", ...command.words];
  const child = spawn(program, args, {
    cwd: files.stateDir,
    env: { ...daemonEnv(files), ...command.env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  return watch(child);
}

/** How libvirtd is called: the words of its command line, wrapped where need be, and what its environment has besides. */
export type Launch = (
  libvirtd: readonly string[],
  files: DaemonFiles,
) => { readonly words: readonly string[]; readonly env: NodeJS.ProcessEnv };

/** A daemon that finds no driver modules has only those built in, the test driver among them. */
const withoutHypervisor: Launch = (words, { driverDir }) => ({ words, env: { LIBVIRT_DRIVER_DIR: driverDir } });

/** Only what the daemon needs: nothing of the caller's environment can change what it does or where it writes. */
function daemonEnv(files: DaemonFiles): NodeJS.ProcessEnv {
  const { stateDir, runDir } = files;
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: stateDir,
    XDG_RUNTIME_DIR: runDir,
    XDG_CONFIG_HOME: join(stateDir, "config"),
    XDG_CACHE_HOME: join(stateDir, "cache"),
    XDG_DATA_HOME: join(stateDir, "data"),
  };
}

function watch(child: ChildProcess): Promise<DaemonProcess> {
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-LOG_CHARS_MAX);
  });
  const exited = new Promise<Exit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  return new Promise((resolve, reject) => {
    child.once("error", (cause) => reject(new DaemonFailed(`libvirtd cannot be run: ${cause.message}`, { cause })));
    child.once("spawn", () => {
      const { pid } = child;
      if (pid === undefined) return reject(new DaemonFailed("libvirtd has no process id"));
      resolve({ pid, exited, log: () => log, kill: (signal) => void child.kill(signal) });
    });
  });
}

/** The program in PATH or in the folders of system programs, which unprivileged users often lack in theirs. */
export async function findProgram(name: string): Promise<string | undefined> {
  const { PATH = "" } = process.env;
  const folders = [...PATH.split(delimiter), "/usr/sbin", "/usr/local/sbin", "/usr/bin"];
  for (const folder of folders) {
    const path = join(folder, name);
    if (folder.startsWith("/") && (await isExecutable(path))) return path;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
