import { readFile, rm } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { type Clock, err, ok, type Result } from "@muster/base";
import { errorCode, type ServerFault } from "./server-fault.ts";

const POLL_MS = 15;

/** By which a server of this folder is known: its pid file, and the configuration that its command line names. */
export type ServerTraces = { readonly pid: string; readonly config: string };

/**
 * Ends a server of this very folder that outlived its supervisor: SIGTERM, SIGKILL after `patienceMs`. A stale pid file,
 * whose number is nobody's or now another program's, is taken away.
 */
export async function endLeftover(
  files: ServerTraces,
  limits: { readonly patienceMs: number; readonly deadlineMs: number },
  clock: Clock,
): Promise<Result<void, ServerFault>> {
  const pid = Number((await readFile(files.pid, "utf8").catch(() => "")).trim());
  if (Number.isInteger(pid) && pid > 1 && (await serves(pid, files.config))) {
    const ended = await end(pid, files, limits, clock);
    if (!ended.ok) return ended;
  }
  // A server does not start where it cannot write the file, for instance because root once did.
  await rm(files.pid, { force: true });
  return ok(undefined);
}

async function end(
  pid: number,
  files: ServerTraces,
  limits: { readonly patienceMs: number; readonly deadlineMs: number },
  clock: Clock,
): Promise<Result<void, ServerFault>> {
  signal(pid, "SIGTERM");
  const killMs = clock.nowMs() + limits.patienceMs;
  let killed = false;
  while (await serves(pid, files.config)) {
    const nowMs = clock.nowMs();
    if (nowMs >= limits.deadlineMs) return err({ kind: "already-running", pid, path: files.config });
    if (!killed && nowMs >= killMs) {
      killed = true;
      signal(pid, "SIGKILL");
    }
    await pause(POLL_MS);
  }
  return ok(undefined);
}

/** Whether a process was started with this configuration; a zombie has no command line any more. */
async function serves(pid: number, config: string): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return command.split("\0").includes(config);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
}
