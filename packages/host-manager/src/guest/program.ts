/** Programs that make disks and seeds: called without a shell, with a bounded time and answer. */
import { spawn } from "node:child_process";
import { err, ok, type Result } from "@muster/base";

export type ProgramOptions = { readonly timeoutMs: number };

/** Longest answer that is read, in characters. */
const ANSWER_LENGTH_MAX = 1 << 20;
const FAULT_LENGTH_MAX = 300;
const ENV = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** Ends with us: what a host manager that died had begun is not in the way of the next one. */
const WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"] as const;

/** Runs `words` and gives what it wrote to its standard output; the fault is one line of what it complained about. */
export function runProgram(words: Words, { timeoutMs }: ProgramOptions): Promise<Result<string, string>> {
  const [program] = words;
  const [own, ...args] = [...WITH_US, ...words] as const;
  const limits = { timeout: timeoutMs, killSignal: "SIGKILL", cwd: "/", env: ENV } as const;
  return new Promise((resolve) => {
    const child = spawn(own, args, { ...limits, stdio: ["ignore", "pipe", "pipe"] });
    let answer = "";
    let complaint = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      answer += text;
      if (answer.length > ANSWER_LENGTH_MAX) child.kill("SIGKILL");
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(-4_096);
    });
    child.once("error", (fault) => {
      const missing = "code" in fault && fault.code === "ENOENT";
      resolve(err(missing ? `${own} is not installed` : fault.message));
    });
    child.once("close", (code, signal) => {
      if (code === 0) resolve(ok(answer));
      else resolve(err(faultOf(program, code, signal, complaint, timeoutMs)));
    });
  });
}

/** A command line: the program, looked for in the system's folders, and its arguments. */
export type Words = readonly [string, ...string[]];

const NOT_THERE = /^setpriv: failed to execute .*: No such file or directory$/m;

function faultOf(
  program: string,
  code: number | null,
  signal: string | null,
  complaint: string,
  timeoutMs: number,
): string {
  if (NOT_THERE.test(complaint)) return `${program} is not installed`;
  const last = complaint.trim().split("\n").at(-1) ?? "";
  const said = last.replace(/\p{Cc}/gu, " ").slice(0, FAULT_LENGTH_MAX);
  if (said !== "") return said;
  if (signal === "SIGKILL") return `${program} was ended: it took longer than ${timeoutMs} ms, or more than it may`;
  return `${program} failed (${code === null ? `signal ${signal}` : `exit code ${code}`})`;
}
