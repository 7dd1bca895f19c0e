import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { checkSocketPath } from "../connection/socket-path.ts";

/** Where a private daemon keeps its things. All of it lies below one folder. */
export interface DaemonFiles {
  readonly stateDir: string;
  readonly runDir: string;
  readonly driverDir: string;
  readonly confFile: string;
  readonly pidFile: string;
  readonly socketPath: string;
  /** Every socket the daemon makes. */
  readonly sockets: readonly string[];
}

/** Names the files and checks that the longest socket path fits. Throws `ArgumentRefused` where it does not. */
export function daemonFiles(stateDir: string): DaemonFiles {
  const root = resolve(stateDir);
  const runDir = join(root, "run");
  const sockets = ["libvirt-sock", "libvirt-sock-ro", "libvirt-admin-sock"].map((name) => join(runDir, name));
  for (const socket of sockets) checkSocketPath(socket);
  return {
    stateDir: root,
    runDir,
    driverDir: join(root, "drivers"),
    confFile: join(root, "libvirtd.conf"),
    pidFile: join(root, "libvirtd.pid"),
    socketPath: join(runDir, "libvirt-sock"),
    sockets,
  };
}

/** Makes the folders and writes the configuration. Only the folder's owner can reach the socket. */
export async function writeDaemonFiles(
  files: DaemonFiles,
  maxClientRequests: number,
  hostUuid?: string,
): Promise<void> {
  await mkdir(files.runDir, { recursive: true, mode: 0o700 });
  // A daemon that finds no driver modules has only those built in, the test driver among them.
  await mkdir(files.driverDir, { recursive: true, mode: 0o700 });
  const conf = [
    `unix_sock_dir = ${confText(files.runDir)}`,
    'unix_sock_rw_perms = "0700"',
    'auth_unix_ro = "none"',
    'auth_unix_rw = "none"',
    `max_client_requests = ${maxClientRequests}`,
    ...(hostUuid === undefined ? [] : [`host_uuid = ${confText(hostUuid)}`]),
    "",
  ];
  await writeFile(files.confFile, conf.join("\n"), { mode: 0o600 });
}

/** Removes what a daemon that is gone has left: its sockets and its pid file. */
export async function removeLeftovers(files: DaemonFiles): Promise<void> {
  await Promise.all([...files.sockets, files.pidFile].map((path) => rm(path, { force: true })));
}

/**
 * The process id in the pid file, if that process is a libvirtd over this very folder: pids are used again, so the
 * file alone proves nothing.
 */
export async function runningDaemon(files: DaemonFiles): Promise<number | undefined> {
  const text = await readFile(files.pidFile, "utf8").catch(() => "");
  const pid = Number.parseInt(text, 10);
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  const args = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  return args.includes(files.confFile) ? pid : undefined;
}

/** libvirt's configuration takes double-quoted text without escapes. */
function confText(value: string): string {
  if (/["\n]/.test(value)) throw new TypeError("the state folder's path must not contain quotes or line breaks");
  return `"${value}"`;
}
