import { spawn } from "node:child_process";
import { err, ok, type Result } from "@muster/base";

const TIMEOUT_MS = 20_000;
const COMPLAINT_LENGTH_MAX = 300;
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`;

/** Runs a program that reads from its standard input what is nobody else's to see, and nobody's to find in a file. */
export function runWithInput(program: string, args: readonly string[], input: string): Promise<Result<void, string>> {
  return new Promise((resolve) => {
    // Node's pipes are sockets, which cannot be opened as /dev/stdin; those of a shell can.
    const child = spawn("/bin/sh", ["-c", 'cat | "$@"', "sh", program, ...args], {
      stdio: ["pipe", "ignore", "pipe"],
      timeout: TIMEOUT_MS,
      env: { ...process.env, PATH, LC_ALL: "C" },
    });
    let complaint = "";
    child.stderr.on("data", (chunk: Buffer) => {
      if (complaint.length < COMPLAINT_LENGTH_MAX) complaint += chunk.toString("utf8");
    });
    child.on("error", (fault) => resolve(err(`${program}: ${fault.message}`)));
    child.on("close", (code) => {
      const said = complaint.replace(/\s+/g, " ").trim().slice(0, COMPLAINT_LENGTH_MAX);
      resolve(code === 0 ? ok(undefined) : err(`${[program, ...args].join(" ")}: ${said || `it ended with ${code}`}`));
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
