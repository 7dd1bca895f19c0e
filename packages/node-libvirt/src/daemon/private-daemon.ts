import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "../connection/connection.ts";
import { Deadline } from "../connection/deadline.ts";
import { openConnection } from "../connection/handshake.ts";
import { DaemonFailed } from "../fault.ts";
import { type DaemonFiles, removeLeftovers, runningDaemon, writeDaemonFiles } from "./daemon-files.ts";
import type { DaemonProcess, Exit } from "./daemon-process.ts";

const POLL_MS = 10;

/** A libvirtd of one's own: its folder, its process, and how it ends. */
export interface PrivateDaemon {
  readonly socketPath: string;
  /** What to open over it: `test:///default`, `qemu:///system` or `qemu:///session`. */
  readonly uri: string;
  readonly pid: number;
  /** Settles when the process has ended, whoever ended it. */
  readonly exited: Promise<Exit>;
  /** The end of what the daemon wrote to its standard error. */
  log(): string;
  /**
   * SIGTERM, then SIGKILL; sockets and pid file are gone afterwards. Stopping again does nothing. Guests of QEMU go on
   * running: a daemon started over the same folder finds them again.
   */
  stop(): Promise<void>;
}

/** What the kinds of private daemons have in common, and where they differ. */
export interface PrivateDaemonStart {
  readonly files: DaemonFiles;
  readonly uri: string;
  readonly startTimeoutMs: number;
  readonly stopTimeoutMs: number;
  readonly maxClientRequests: number;
  readonly hostUuid?: string | undefined;
  /** Called once nothing of an earlier run is left. */
  readonly spawn: () => Promise<DaemonProcess>;
  /** Whether a connection is held until the end, so that the daemon does not forget its state with its last client. */
  readonly isHeld: boolean;
}

/** Starts it where an earlier run's daemon may have been left, which is ended first; rejects with {@link DaemonFailed}. */
export async function startDaemon(start: PrivateDaemonStart): Promise<PrivateDaemon> {
  const { files, stopTimeoutMs } = start;
  await stopLeftover(files, stopTimeoutMs);
  await writeDaemonFiles(files, start.maxClientRequests, start.hostUuid);
  await removeLeftovers(files);
  const daemon = await start.spawn();
  try {
    const anchor = await openAnchor(files, daemon, start.uri, start.startTimeoutMs);
    if (!start.isHeld) anchor.destroy();
    return handle(start, daemon, anchor);
  } catch (error) {
    await end(daemon, stopTimeoutMs);
    await removeLeftovers(files);
    throw error;
  }
}

function handle(start: PrivateDaemonStart, daemon: DaemonProcess, anchor: Connection): PrivateDaemon {
  const { files, uri, stopTimeoutMs } = start;
  const { pid, exited, log } = daemon;
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    anchor.destroy();
    await end(daemon, stopTimeoutMs);
    await removeLeftovers(files);
  };
  const stopOnce = () => {
    stopping ??= stop();
    return stopping;
  };
  return { socketPath: files.socketPath, uri, pid, exited, log, stop: stopOnce };
}

/** Waits until the daemon answers. The connection asks for no pings either way, so that a daemon under load keeps it. */
async function openAnchor(
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
async function end(daemon: DaemonProcess, stopTimeoutMs: number): Promise<void> {
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
async function stopLeftover(files: DaemonFiles, stopTimeoutMs: number): Promise<void> {
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
