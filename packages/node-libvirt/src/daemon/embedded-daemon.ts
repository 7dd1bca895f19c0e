import { daemonFiles } from "./daemon-files.ts";
import { spawnDaemon } from "./daemon-process.ts";
import { type PrivateDaemon, startDaemon } from "./private-daemon.ts";

/** How to start a private daemon. */
export interface EmbeddedDaemonOptions {
  /** Folder of the daemon's own, made where it is missing. Keep its path short: sockets lie in it. */
  readonly stateDir: string;
  /** Path of libvirtd. By default it is looked for in PATH and in `/usr/sbin`. */
  readonly libvirtdPath?: string;
  /** Time for the daemon to answer, in milliseconds. Default 10 000. */
  readonly startTimeoutMs?: number;
  /** Time from SIGTERM to SIGKILL, in milliseconds. Default 3 000. */
  readonly stopTimeoutMs?: number;
  /** The daemon's `max_client_requests`. Default 20. */
  readonly maxClientRequests?: number;
}

/**
 * Starts a libvirtd of one's own that has no real hypervisor, as root or not, next to any others. One daemon is one
 * simulated host. Its state lives as long as the daemon, because a connection held here keeps the test driver from
 * forgetting it with the last client. A daemon left over in the same folder is stopped first. Rejects with
 * {@link DaemonFailed}, or `ArgumentRefused` for a folder whose path is too long.
 */
export async function startEmbeddedDaemon(options: EmbeddedDaemonOptions): Promise<PrivateDaemon> {
  const files = daemonFiles(options.stateDir);
  return startDaemon({
    files,
    uri: "test:///default",
    startTimeoutMs: options.startTimeoutMs ?? 10_000,
    stopTimeoutMs: options.stopTimeoutMs ?? 3_000,
    maxClientRequests: options.maxClientRequests ?? 20,
    spawn: () => spawnDaemon(files, options.libvirtdPath),
    isHeld: true,
  });
}
