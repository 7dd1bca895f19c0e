// How the scripts run a program: signals reach it once, and it does not outlive them.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it, vi } from "vitest";

const runtime = join(import.meta.dirname, "..", "..", "scripts", "runtime.mjs");

/** Says its pid and every signal; ends at the second SIGTERM, or with 7 at SIGQUIT. */
const PROGRAM = `
  for (const s of ["SIGINT", "SIGTERM"]) process.on(s, () => console.log(s));
  process.on("SIGQUIT", () => process.exit(7));
  setInterval(() => {}, 1000);
  console.log(process.pid);
`;

let script: ChildProcess | undefined;
let pid = 0;
afterEach(() => {
  script?.kill("SIGKILL");
  if (pid > 0 && isAlive(pid)) process.kill(pid, "SIGKILL");
});

/** A script that runs PROGRAM by `runNode`, and what the program has printed after its pid. */
async function startScript(options = "{}"): Promise<{ child: ChildProcess; lines: string[] }> {
  const text = `import { runNode } from ${JSON.stringify(runtime)};
    process.exitCode = await runNode(["-e", ${JSON.stringify(PROGRAM)}], ${options});`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", text], { stdio: ["ignore", "pipe", "inherit"] });
  script = child;
  const lines: string[] = [];
  if (child.stdout === null) throw new Error("no stdout");
  createInterface(child.stdout).on("line", (line) => lines.push(line));
  await vi.waitFor(() => expect(lines.length).toBeGreaterThan(0), { timeout: 10_000 });
  pid = Number(lines.shift());
  return { child, lines };
}

function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch {
    return false;
  }
}

describe("runNode", () => {
  it("passes one Ctrl-C on once, though the terminal and npm both send it, and a later one again", async () => {
    const { child, lines } = await startScript();
    child.kill("SIGINT");
    child.kill("SIGINT");
    await vi.waitFor(() => expect(lines).toEqual(["SIGINT"]), { timeout: 5_000 });
    await vi.waitFor(
      () => {
        child.kill("SIGINT");
        expect(lines.length).toBeGreaterThanOrEqual(2);
      },
      { timeout: 5_000, interval: 300 },
    );
    child.kill("SIGTERM");
    await vi.waitFor(() => expect(lines.at(-1)).toBe("SIGTERM"), { timeout: 5_000 });
  });

  it("ends with the program's exit code", async () => {
    const { child } = await startScript();
    child.kill("SIGQUIT");
    expect(await once(child, "exit")).toEqual([7, null]);
  });

  it.runIf(existsSync("/usr/bin/setpriv"))("asks the program to end when the script is killed", async () => {
    const { child, lines } = await startScript();
    const { stdout } = child;
    child.kill("SIGKILL");
    await vi.waitFor(() => expect(lines).toContain("SIGTERM"), { timeout: 5_000 });
    stdout?.destroy();
  });

  it("stops a program at its time limit, and kills it when it does not obey", async () => {
    // So long that the program has begun to listen for signals, also where many others are begun.
    const { child, lines } = await startScript("{ timeoutMs: 3_000, graceMs: 200 }");
    expect(await once(child, "exit")).toEqual([124, null]);
    expect(lines).toContain("SIGTERM");
    expect(isAlive(pid)).toBe(false);
  });
});
