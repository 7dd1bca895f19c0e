import { readFileSync } from "node:fs";

/** A process told apart from a later one with the same number: its id and when it started, in clock ticks since boot. */
export type ProcessIdentity = { readonly pid: number; readonly startTicks: number };

/** The identity of a running process, or `undefined` when there is none of that number (proc(5), /proc/<pid>/stat). */
export function identityOf(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field, the name, is in brackets and may itself hold spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state] = fields;
    const startTicks = Number(fields[19]);
    return state === "Z" || !Number.isFinite(startTicks) ? undefined : { pid, startTicks };
  } catch {
    return undefined;
  }
}

/** Whether exactly this process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identityOf(identity.pid)?.startTicks === identity.startTicks;
}

/** Sends a signal to exactly this process, never to a later one of the same number. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}
