/** Programs that act on disks: called without a shell, with a bounded time and answer, and confined where the input is a stranger's. */
import { spawn } from "node:child_process";
import { open } from "node:fs/promises";
import { err, ok, type Result } from "@muster/base";

export type ProgramOptions = {
  readonly timeoutMs: number;
  /** File that the program gets as its standard input, opened by us: it need not be able to reach the file's folder. */
  readonly input?: string;
};

/** Longest answer that is read, in characters. */
const ANSWER_LENGTH_MAX = 1 << 20;
const FAULT_LENGTH_MAX = 300;
const ENV = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** Runs `words` and gives what it wrote to its standard output; the fault is one line of what it complained about. */
export async function runProgram(words: Words, options: ProgramOptions): Promise<Result<string, string>> {
  if (options.input === undefined) return carryOut(words, options.timeoutMs, "ignore");
  const input = await open(options.input, "r");
  try {
    return await carryOut(words, options.timeoutMs, input.fd);
  } finally {
    await input.close();
  }
}

/** A command line: the program, looked for in the system's folders, and its arguments. */
export type Words = readonly [string, ...string[]];

function carryOut(words: Words, timeoutMs: number, stdin: number | "ignore"): Promise<Result<string, string>> {
  const [program, ...args] = words;
  const limits = { timeout: timeoutMs, killSignal: "SIGKILL", cwd: "/", env: ENV } as const;
  return new Promise((resolve) => {
    const child = spawn(program, args, { ...limits, stdio: [stdin, "pipe", "pipe"] });
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
      resolve(err(missing ? `${program} is not installed` : fault.message));
    });
    child.once("close", (code, signal) => {
      if (code === 0) resolve(ok(answer));
      else resolve(err(faultOf(program, code, signal, complaint, timeoutMs)));
    });
  });
}

/** Account without rights, `nobody` on Linux: the kernel's overflow uid. */
const NOBODY = 65_534;
const MEMORY_BYTES_MAX = 1 << 30;
const CPU_SECONDS_MAX = 20;

/**
 * The command line for a program that reads what a stranger made: without rights, network, new privileges or the means to
 * write, and with a bound on memory and time. Where the host manager is not root, it keeps its user and gets the bounds.
 */
export function confined(words: Words): Words {
  const bounds = ["prlimit", `--as=${MEMORY_BYTES_MAX}`, `--cpu=${CPU_SECONDS_MAX}`, "--fsize=0", "--core=0", "--"];
  if (process.getuid?.() !== 0) return ["setpriv", "--no-new-privs", "--", ...bounds, ...words];
  const account = [
    `--reuid=${NOBODY}`,
    `--regid=${NOBODY}`,
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
  ];
  return ["unshare", "--net", "--ipc", "--", "setpriv", ...account, "--no-new-privs", "--", ...bounds, ...words];
}

function faultOf(
  program: string,
  code: number | null,
  signal: string | null,
  complaint: string,
  timeoutMs: number,
): string {
  const last = complaint.trim().split("\n").at(-1) ?? "";
  const said = last.replace(/\p{Cc}/gu, " ").slice(0, FAULT_LENGTH_MAX);
  if (said !== "") return said;
  if (signal === "SIGKILL") return `${program} was ended: it took longer than ${timeoutMs} ms, or more than it may`;
  return `${program} failed (${code === null ? `signal ${signal}` : `exit code ${code}`})`;
}
