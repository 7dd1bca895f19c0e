/**
 * How long the whole two-site federation takes from the command to ready: first start in an empty state folder, and
 * the starts after it, which find their state.
 *
 *   npm run bench -- start
 */
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MUSTER = fileURLToPath(new URL("../muster", import.meta.url));
const STARTS = 4;

/** Seconds from the launch of `muster up` to its line that all sites are up; the stop is not counted. */
function timeOneStart(state: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    let readyMs: number | undefined;
    let said = "";
    const child = spawn(MUSTER, ["--state", state, "up", "--exit", "--loopback", "97"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (readyMs === undefined && said.includes(" are up after ")) readyMs = performance.now();
    });
    child.once("exit", (code) => {
      if (code === 0 && readyMs !== undefined) resolve((readyMs - startMs) / 1_000);
      else reject(new Error(said));
    });
  });
}

const state = mkdtempSync(join(tmpdir(), "mb-"));
chmodSync(state, 0o711);
try {
  process.stdout.write("| start | s from command to ready |\n|---|---|\n");
  for (let start = 1; start <= STARTS; start += 1)
    process.stdout.write(
      `| ${start === 1 ? "first, empty state" : `again (${start})`} | ${(await timeOneStart(state)).toFixed(1)} |\n`,
    );
} finally {
  rmSync(state, { recursive: true, force: true });
}
