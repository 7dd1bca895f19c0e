import { spawn } from "node:child_process";
import { err, ok, type Result } from "@muster/base";

export type ProgramOptions = {
  readonly cwd?: string;
  /** Written to its standard input. */
  readonly input?: string;
  readonly timeoutMs?: number;
};

/** Programs of the system's administration are not on everybody's PATH. */
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`;
const OUTPUT_BYTES_MAX = 8 * 1024 * 1024;

/** Runs a program to its end: what it wrote to its standard output, or one sentence with what it complained about. */
export function runProgram(
  program: string,
  args: readonly string[],
  { cwd, input, timeoutMs = 60_000 }: ProgramOptions = {},
): Promise<Result<string, string>> {
  const child = spawn(program, [...args], {
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    env: { ...process.env, PATH, LC_ALL: "C" },
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    ...(cwd === undefined ? {} : { cwd }),
  });
  let output = "";
  let complaint = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    if (output.length < OUTPUT_BYTES_MAX) output += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-2_000);
  });
  // A program that ends without reading its input makes no difference: its exit code tells.
  child.stdin?.on("error", () => undefined).end(input);
  return new Promise((resolve) => {
    child.once("error", (cause) => resolve(err(`${program} cannot be run: ${cause.message}`)));
    child.once("close", (code, signal) => {
      if (code === 0) resolve(ok(output));
      else resolve(err(`${program} ${args[0] ?? ""} failed (${signal ?? `exit ${code}`}): ${complaint.trim()}`));
    });
  });
}
