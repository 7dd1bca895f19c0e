import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "../connection/connection.ts";
import { Deadline } from "../connection/deadline.ts";
import { openConnection } from "../connection/handshake.ts";
import { DaemonFailed } from "../fault.ts";
import { type DaemonFiles, daemonFiles, removeLeftovers, runningDaemon, writeDaemonFiles } from "./daemon-files.ts";
import { type DaemonProcess, type Exit, spawnDaemon } from "./daemon-process.ts";

const URI = "test:///default";
const POLL_MS = 10;

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

/** A private libvirtd whose only hypervisor is libvirt's test driver. */
export interface EmbeddedDaemon {
  readonly socketPath: string;
  /** `test:///default`: one simulated host, kept in the daemon's memory. */
  readonly uri: string;
  readonly pid: number;
  /** Settles when the process has ended, whoever ended it. */
  readonly exited: Promise<Exit>;
  /** The end of what the daemon wrote to its standard error. */
  log(): string;
  /** SIGTERM, then SIGKILL; sockets and pid file are gone afterwards. Stopping again does nothing. */
  stop(): Promise<void>;
}

/**
 * Starts a libvirtd of one's own that has no real hypervisor, as root or not, next to any others. One daemon is one
 * simulated host. Its state lives as long as the daemon, because a connection held here keeps the test driver from
 * forgetting it with the last client. A daemon left over in the same folder is stopped first. Rejects with
 * {@link DaemonFailed}, or `ArgumentRefused` for a folder whose path is too long.
 */
export async function startEmbeddedDaemon(options: EmbeddedDaemonOptions): Promise<EmbeddedDaemon> {
  const files = daemonFiles(options.stateDir);
  const stopTimeoutMs = options.stopTimeoutMs ?? 3_000;
  await stopLeftover(files, stopTimeoutMs);
  await writeDaemonFiles(files, options.maxClientRequests ?? 20);
  await removeLeftovers(files);
  const daemon = await spawnDaemon(files, options.libvirtdPath);
  try {
    const anchor = await openAnchor(files, daemon, URI, options.startTimeoutMs ?? 10_000);
    return handle(files, daemon, anchor, stopTimeoutMs);
  } catch (error) {
    await end(daemon, stopTimeoutMs);
    await removeLeftovers(files);
    throw error;
  }
}

function handle(files: DaemonFiles, daemon: DaemonProcess, anchor: Connection, stopTimeoutMs: number): EmbeddedDaemon {
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    anchor.destroy();
    await end(daemon, stopTimeoutMs);
    await removeLeftovers(files);
  };
  return {
    socketPath: files.socketPath,
    uri: URI,
    pid: daemon.pid,
    exited: daemon.exited,
    log: daemon.log,
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

/** Waits until the daemon answers. The connection asks for no pings either way, so that a daemon under load keeps it. */
export async function openAnchor(
  files: DaemonFiles,
  daemon: DaemonProcess,
  uri: string,
  timeoutMs: number,
): Promise<Connection> {
  const deadline = new Deadline(timeoutMs);
  const exit: { seen: Exit | undefined } = { seen: undefined };
  void daemon.exited.then((seen) => {
    exit.seen = seen;
  });
  let last: unknown;
  while (exit.seen === undefined && deadline.leftMs() > 0) {
    try {
      const { socketPath } = files;
      const keepalive = { intervalMs: 0, count: 0 };
      return await openConnection({ socketPath, uri, keepalive, openTimeoutMs: deadline.leftMs() });
    } catch (error) {
      last = error;
      await sleep(POLL_MS);
    }
  }
  const how =
    exit.seen === undefined ? `did not answer within ${timeoutMs} ms` : `ended at once (${ending(exit.seen)})`;
  throw new DaemonFailed(`libvirtd ${how}; it wrote: ${daemon.log().trim() || "nothing"}`, { cause: last });
}

/** SIGTERM, then SIGKILL. */
export async function end(daemon: DaemonProcess, stopTimeoutMs: number): Promise<void> {
  daemon.kill("SIGTERM");
  const abort = new AbortController();
  // A stopped or stuck process does not act on SIGTERM, but cannot refuse SIGKILL.
  const kill = sleep(stopTimeoutMs, undefined, { signal: abort.signal }).then(
    () => daemon.kill("SIGKILL"),
    () => undefined,
  );
  await daemon.exited;
  abort.abort();
  await kill;
}

/** Ends a daemon that an earlier run left in this folder, as its state would be another's. */
export async function stopLeftover(files: DaemonFiles, stopTimeoutMs: number): Promise<void> {
  for (const name of ["SIGTERM", "SIGKILL"] as const) {
    const deadline = new Deadline(stopTimeoutMs);
    for (let pid = await runningDaemon(files); pid !== undefined; pid = await runningDaemon(files)) {
      if (deadline.leftMs() === 0) break;
      signal(pid, name);
      await sleep(POLL_MS);
    }
  }
  const pid = await runningDaemon(files);
  if (pid !== undefined) throw new DaemonFailed(`libvirtd of an earlier run (process ${pid}) does not end`);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EPERM") throw new DaemonFailed(`another user's libvirtd (process ${pid}) runs in this folder`);
  }
}

function ending(exit: Exit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}
