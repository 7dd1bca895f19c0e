import { execFile } from "node:child_process";
import { err, ok, type Result } from "@muster/base";

const TIMEOUT_MS = 20_000;
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
/** Programs of the system's administration are not on everybody's PATH. */
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`;

/** How programs of the system are run; a test puts another one in its place. */
export type RunProgram = (program: string, args: readonly string[], input?: string) => Promise<Result<string, string>>;

/** Runs `ip`, `bridge`, `iptables` or `virsh` to its end: what it wrote, or its complaint in one line. */
export function runProgram(program: string, args: readonly string[], input?: string): Promise<Result<string, string>> {
  const options = { timeout: TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX, env: { ...process.env, PATH, LC_ALL: "C" } };
  return new Promise((resolve) => {
    const child = execFile(program, [...args], options, (fault, stdout, stderr) => {
      if (fault === null) resolve(ok(stdout));
      else resolve(err(`${program} ${args.join(" ")}: ${oneLine(stderr === "" ? fault.message : stderr)}`));
    });
    // A program that ended early says so by its exit code.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, 300);
}
