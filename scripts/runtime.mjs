// Which Node runs Muster's TypeScript, and how the scripts run programs with it. Runs on Node 20 itself.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runsTypeScript } from "./plan.mjs";

/** The checkout. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Signals passed on to the program that a script runs. */
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGWINCH"];

/** npm repeats Ctrl-C to its script, which the terminal has sent already: equal signals this close are one. */
const SAME_SIGNAL_MS = 250;

/** Between asking a program to stop at its time limit and killing its process group. */
const GRACE_MS = 10_000;

/** Writes a line for the person at the terminal; stdout stays free for data. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** Where the npm packages put Node 24 for this machine's processor. */
export function bundledNode() {
  return join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node");
}

/** Path of a Node that runs TypeScript files: this process's own, else the npm packages', else null. */
export function findNode() {
  if (runsTypeScript(process.versions.node)) return process.execPath;
  return existsSync(bundledNode()) ? bundledNode() : null;
}

/**
 * Environment of everything the scripts run: that Node and the packages' commands first on PATH, the
 * folders of daemons on it too (an ordinary user's PATH lacks them), compiled code cached between starts.
 */
export function environment(node) {
  const own = [dirname(node), join(root, "node_modules", ".bin")];
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "" && !own.includes(folder));
  const system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].filter((folder) => !path.includes(folder));
  return {
    ...process.env,
    PATH: [...own, ...path, ...system].join(delimiter),
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, "node_modules", ".cache", "muster"),
  };
}

/**
 * Runs Node with these arguments in the checkout, on this terminal, and resolves with its exit code
 * (128 + signal number when a signal ended it, 124 when `timeoutMs` did).
 *
 * The program gets a session of its own, so that Ctrl-C reaches it only through here, once, whether it
 * was pressed at a terminal or sent to npm; and a death signal, so that it also ends when this process is killed.
 */
export function runNode(args, { timeoutMs, graceMs = GRACE_MS } = {}) {
  const node = findNode();
  if (node === null) {
    say("No Node that runs TypeScript was found (22.18 or newer): run `npm run setup`.");
    return Promise.resolve(1);
  }
  const tied = process.platform === "linux" && existsSync("/usr/bin/setpriv");
  const [command, ...rest] = tied ? ["/usr/bin/setpriv", "--pdeathsig", "TERM", node, ...args] : [node, ...args];
  const child = spawn(command, rest, { cwd: root, env: environment(node), stdio: "inherit", detached: true });
  return ended(child, timeoutMs, graceMs);
}

function ended(child, timeoutMs, graceMs) {
  const stopForwarding = forwardSignals((signal) => child.kill(signal));
  let timedOut = false;
  const timers = [];
  if (timeoutMs !== undefined) {
    const stop = () => {
      timedOut = true;
      child.kill("SIGTERM");
      timers.push(setTimeout(() => killGroup(child), graceMs));
    };
    timers.push(setTimeout(stop, timeoutMs));
  }
  return new Promise((resolve) => {
    const finish = (code) => {
      for (const timer of timers) clearTimeout(timer);
      stopForwarding();
      resolve(code);
    };
    child.once("error", (error) => {
      say(`Cannot run ${child.spawnfile}: ${error.message}`);
      finish(1);
    });
    child.once("exit", (code, signal) => {
      if (timedOut) {
        killGroup(child);
        finish(124);
      } else {
        finish(code ?? 128 + (constants.signals[signal] ?? 0));
      }
    });
  });
}

function killGroup(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group has ended by itself.
  }
}

/** Calls `send` for each signal that reaches this process, repeats left out; returns how to undo it. */
export function forwardSignals(send) {
  const sentAt = new Map();
  const handler = (signal) => {
    const now = performance.now();
    if (now - (sentAt.get(signal) ?? Number.NEGATIVE_INFINITY) < SAME_SIGNAL_MS) return;
    sentAt.set(signal, now);
    send(signal);
  };
  for (const signal of FORWARDED) process.on(signal, handler);
  return () => {
    for (const signal of FORWARDED) process.off(signal, handler);
  };
}

/**
 * Runs a command without a terminal and collects what it prints, at most the last 64 KB:
 * `{ code, output }`, code 127 when it cannot be run. Never throws.
 */
export function capture(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], ...options });
    let output = "";
    const collect = (chunk) => {
      output = (output + chunk).slice(-65_536);
    };
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    child.once("error", (error) => resolve({ code: 127, output: error.message }));
    child.once("close", (code, signal) => resolve({ code: code ?? 128 + constants.signals[signal], output }));
  });
}
