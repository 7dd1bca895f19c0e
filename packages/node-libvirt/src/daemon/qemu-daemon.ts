import { copyFile, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DaemonFailed } from "../fault.ts";
import { type DaemonFiles, daemonFiles } from "./daemon-files.ts";
import { findProgram, type Launch, spawnDaemon } from "./daemon-process.ts";
import { type PrivateDaemon, startDaemon } from "./private-daemon.ts";

/** How to start a private libvirtd with QEMU. */
export interface QemuDaemonOptions {
  /** Folder of the daemon's own, made where it is missing. Keep its path short: sockets lie in it. */
  readonly stateDir: string;
  /**
   * `system` is libvirt's privileged driver, and needs root: the daemon runs in a mount namespace in which libvirt's
   * system folders are folders of `stateDir`. `session` is the driver of an ordinary user.
   */
  readonly mode: "system" | "session";
  /** With `session`, started by root: the user it runs as. `stateDir` must be theirs. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /**
   * Where libvirt keeps what it found out about QEMU, which takes it seconds; may be shared and kept between runs.
   * Default `stateDir`/cache.
   */
  readonly cacheDir?: string;
  /** `host_uuid`: what libvirt takes for the machine's identity; migration needs two different ones. */
  readonly hostUuid?: string;
  /**
   * With `system`: a host of its own on this machine. `namespace` is a network namespace (ip-netns(8)) that is there already,
   * in which the daemon and its guests have their interfaces; `name` is what it calls itself.
   */
  readonly host?: { readonly namespace: string; readonly name: string };
  /** Time for the daemon to answer, in milliseconds. Default 60 000: the first start asks QEMU what it can do. */
  readonly startTimeoutMs?: number;
  /** Time from SIGTERM to SIGKILL, in milliseconds. Default 3 000. */
  readonly stopTimeoutMs?: number;
  /** The daemon's `max_client_requests`. Default 20. */
  readonly maxClientRequests?: number;
}

/** Account that libvirt's QEMU driver insists on, also where it is told to use another one. */
const QEMU_ACCOUNT = { name: "libvirt-qemu", uid: 64_055, gid: 64_055 };

const QEMU_CONF = {
  system: [
    'user = "root"',
    'group = "root"',
    "dynamic_ownership = 0",
    "remember_owner = 0",
    'security_driver = "none"',
    "namespaces = []",
    "cgroup_controllers = []",
    'stdio_handler = "file"',
    "",
  ],
  session: ['security_driver = "none"', 'stdio_handler = "file"', ""],
} as const;

/** Folders of libvirt's privileged drivers, and which folder of the daemon's own stands for each. */
const SYSTEM_FOLDERS = {
  etc: "/etc/libvirt",
  lib: "/var/lib/libvirt",
  log: "/var/log/libvirt",
} as const;

/**
 * Starts a libvirtd of one's own that drives QEMU, next to any others. Rejects with {@link DaemonFailed}, or
 * `ArgumentRefused` for a folder whose path is too long. A daemon left over in the same folder is stopped first; its
 * guests are taken over.
 */
export async function startQemuDaemon(options: QemuDaemonOptions): Promise<PrivateDaemon> {
  const { mode, hostUuid } = options;
  const files = daemonFiles(options.stateDir);
  return startDaemon({
    files,
    uri: `qemu:///${mode}`,
    startTimeoutMs: options.startTimeoutMs ?? 60_000,
    stopTimeoutMs: options.stopTimeoutMs ?? 3_000,
    maxClientRequests: options.maxClientRequests ?? 20,
    hostUuid,
    spawn: async () => {
      const launch = mode === "system" ? await inOwnFolders(files, options) : await asUser(files, options);
      return spawnDaemon(files, undefined, launch);
    },
    isHeld: false,
  });
}

/** Folders of the daemon's own in the place of libvirt's: nothing of the machine's libvirt is seen or changed. */
async function inOwnFolders(files: DaemonFiles, options: QemuDaemonOptions): Promise<Launch> {
  const { stateDir, runDir } = files;
  const cacheDir = options.cacheDir ?? join(stateDir, "cache");
  const unshare = await findProgram("unshare");
  if (process.getuid?.() !== 0 || unshare === undefined) {
    throw new DaemonFailed("qemu:///system of one's own needs root and util-linux's unshare; use the mode session");
  }
  const binds = new Map<string, string>([
    ["/run/libvirt", runDir],
    ["/var/cache/libvirt", cacheDir],
    ["/etc/passwd", join(stateDir, "passwd")],
    ["/etc/group", join(stateDir, "group")],
  ]);
  for (const [name, folder] of Object.entries(SYSTEM_FOLDERS)) binds.set(folder, join(stateDir, name));
  for (const own of [cacheDir, ...Object.keys(SYSTEM_FOLDERS).map((name) => join(stateDir, name))]) {
    await mkdir(own, { recursive: true, mode: 0o755 });
  }
  // Mount points must exist; what lies in them is covered and left alone.
  for (const folder of ["/run/libvirt", "/var/cache/libvirt", ...Object.values(SYSTEM_FOLDERS)]) {
    await mkdir(folder, { recursive: true, mode: 0o755 });
  }
  await writeAccounts(stateDir);
  await writeFile(join(stateDir, "etc", "qemu.conf"), QEMU_CONF.system.join("\n"));
  if (options.host !== undefined)
    for (const [place, own] of await writeNames(stateDir, options.host.name)) binds.set(place, own);
  const mounts = [...binds].flatMap(([place, own]) => [own, place]);
  const script = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 1; shift 2; done; shift; exec "$@"';
  const inside = ["/bin/sh", "-c", script, "sh", ...mounts, "--"];
  const words = [...(await inNamespaces(unshare, options.host)), ...inside];
  return (libvirtd) => ({ words: [...words, ...libvirtd], env: {} });
}

/** `ip netns exec` also shows the namespace's own /sys, in which libvirt looks for interfaces. */
async function inNamespaces(unshare: string, host: QemuDaemonOptions["host"]): Promise<readonly string[]> {
  const mount = ["--mount", "--propagation", "private"];
  if (host === undefined) return [unshare, ...mount, "--"];
  const ip = await findProgram("ip");
  if (ip === undefined) throw new DaemonFailed("a host of its own needs ip (Debian: iproute2)");
  const setName = ["/bin/sh", "-c", 'hostname "$1" && shift && exec "$@"', "sh", host.name];
  return [ip, "netns", "exec", host.namespace, unshare, "--uts", ...mount, "--", ...setName];
}

/** A host that cannot look up its own name waits for name servers in the middle of a migration. */
async function writeNames(stateDir: string, name: string): Promise<ReadonlyMap<string, string>> {
  const [hosts, resolver] = [join(stateDir, "hosts"), join(stateDir, "resolv.conf")];
  await writeFile(hosts, `127.0.0.1 localhost ${name}\n`);
  await writeFile(resolver, "");
  const places = [["/etc/hosts", hosts] as const, ["/etc/resolv.conf", resolver] as const];
  const present = await Promise.all(places.map(async ([place]) => stat(place).catch(() => undefined)));
  return new Map(places.filter((_, index) => present[index] !== undefined));
}

async function asUser(files: DaemonFiles, options: QemuDaemonOptions): Promise<Launch> {
  // Short, for libvirt keeps sockets of guests deep below it, and a socket's path has 107 bytes.
  const config = join(files.stateDir, "c");
  const folder = join(config, "libvirt");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, "qemu.conf"), QEMU_CONF.session.join("\n"));
  const cache = options.cacheDir === undefined ? {} : { XDG_CACHE_HOME: options.cacheDir };
  const env = { XDG_CONFIG_HOME: config, ...cache };
  const { user } = options;
  if (user === undefined) return (words) => ({ words, env });
  const setpriv = await findProgram("setpriv");
  if (setpriv === undefined) throw new DaemonFailed("to run libvirtd as another user, util-linux's setpriv is needed");
  const chown = await findProgram("chown");
  if (chown === undefined) throw new DaemonFailed("chown was not found");
  const become = [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "--inh-caps=-all"];
  // The kernel forgets what is to happen at the parent's death when the user changes, so it is said again.
  const wrap = [setpriv, ...become, "--pdeathsig", "SIGTERM", "--"];
  const script = '"$1" -R "$2" "$3" && shift 3 && exec "$@"';
  const words = ["/bin/sh", "-c", script, "sh", chown, `${user.uid}:${user.gid}`, files.stateDir, ...wrap];
  return (libvirtd) => ({ words: [...words, ...libvirtd], env });
}

/** The machine's accounts, and libvirt's own where the machine lacks it. */
async function writeAccounts(stateDir: string): Promise<void> {
  const { name, uid, gid } = QEMU_ACCOUNT;
  const lines = { passwd: `${name}:x:${uid}:${gid}::/nonexistent:/usr/sbin/nologin`, group: `${name}:x:${gid}:` };
  for (const file of ["passwd", "group"] as const) {
    const own = join(stateDir, file);
    await copyFile(join("/etc", file), own);
    const text = await readFile(own, "utf8");
    if (!text.includes(`${name}:`)) await writeFile(own, `${text.trimEnd()}\n${lines[file]}\n`);
  }
}
