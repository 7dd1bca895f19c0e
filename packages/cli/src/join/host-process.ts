import { spawn } from "node:child_process";
import { HOST_ENTRY, nodeProgram } from "@muster/federation/state";

/** How a host manager in the foreground ended. */
export type HostEnd =
  | { readonly kind: "stopped" }
  /** The site refused the enrolment: neither token nor password was taken, and it was never online. */
  | { readonly kind: "not-enrolled" }
  | { readonly kind: "failed"; readonly how: string };

/** Exit code of the host manager's program for a refused enrolment. */
const EXIT_NOT_ENROLLED = 4;

/** Runs the host manager in the foreground until it ends; signals to stop are passed on to it. */
export function runHostManager(configPath: string): Promise<HostEnd> {
  const { command, args } = nodeProgram(HOST_ENTRY, ["--config", configPath]);
  const child = spawn(command, [...args], { stdio: "inherit" });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, () => pass(signal === "SIGHUP" ? "SIGTERM" : signal));
  return new Promise((resolve) => {
    child.once("error", (cause) => resolve({ kind: "failed", how: cause.message }));
    child.once("exit", (code, signal) => {
      if (code === 0) resolve({ kind: "stopped" });
      else if (code === EXIT_NOT_ENROLLED) resolve({ kind: "not-enrolled" });
      else resolve({ kind: "failed", how: signal === null ? `exit code ${code}` : `signal ${signal}` });
    });
  });
}

/** The command line that starts it again later, for people and for service files. */
export function hostManagerCommand(configPath: string): string {
  const { args } = nodeProgram(HOST_ENTRY, ["--config", configPath]);
  return args.slice(args.indexOf("--") + 1).join(" ");
}
