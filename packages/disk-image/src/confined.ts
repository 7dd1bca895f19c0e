/** Runs qemu-img over a file from a stranger, with as little right and room as it needs (setpriv(1), prlimit(1)). */
import { spawn } from "node:child_process";
import { err, ok, type Result } from "@muster/base";
import { type ImageFault, imageFault } from "./image-fault.ts";

/** Memory, processor time and clock time of one call; it may write nothing. */
const MEMORY_BYTES_MAX = 2 * 2 ** 30;
const CPU_SECONDS_MAX = 30;
const TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 1024 * 1024;
/** `nobody` and `nogroup`: own nothing. */
const NOBODY = 65_534;

export type ToolEnd = { readonly code: number; readonly stdout: string; readonly stderr: string };

/**
 * `qemu-img <args>` with the open file `fd` as its only one, by the name `CONFINED_FILE`. As root it becomes nobody first;
 * an ordinary user keeps itself and gains nothing more. `tool`: the program, for tests and unusual systems.
 */
export function runConfined(
  fd: number,
  args: readonly string[],
  tool = "qemu-img",
): Promise<Result<ToolEnd, ImageFault>> {
  const isRoot = process.getuid?.() === 0;
  const identity = isRoot ? [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"] : [];
  const rights = [...identity, ...(isRoot ? ["--bounding-set=-all"] : []), "--inh-caps=-all", "--no-new-privs"];
  const limits = [`--as=${MEMORY_BYTES_MAX}`, `--cpu=${CPU_SECONDS_MAX}`, "--fsize=0", "--core=0", "--nofile=64"];
  return new Promise((resolve) => {
    const child = spawn("setpriv", [...rights, "--", "prlimit", ...limits, "--", tool, ...args], {
      stdio: ["ignore", "pipe", "pipe", fd],
      cwd: "/",
      env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    const stdout = bounded();
    const stderr = bounded();
    child.stdout?.on("data", stdout.take);
    child.stderr?.on("data", stderr.take);
    child.once("error", (cause) =>
      resolve(err(imageFault("not-inspected", `${cause.message}: install util-linux for setpriv`))),
    );
    child.once("close", (code, signal) => {
      if (code === null) {
        resolve(err(imageFault("not-inspected", `qemu-img was ended by ${signal}: the image asks too much of it`)));
        return;
      }
      if (/failed to execute/.test(stderr.text())) {
        resolve(err(imageFault("not-inspected", "qemu-img is not there: install qemu-utils on this machine")));
        return;
      }
      resolve(ok({ code, stdout: stdout.text(), stderr: stderr.text() }));
    });
  });
}

/** The file as the confined program sees it. */
export const CONFINED_FILE = "/proc/self/fd/3";

function bounded(): { readonly take: (part: Buffer) => void; readonly text: () => string } {
  const parts: Buffer[] = [];
  let bytes = 0;
  return {
    take: (part) => {
      bytes += part.length;
      if (bytes <= OUTPUT_BYTES_MAX) parts.push(part);
    },
    text: () => Buffer.concat(parts).toString("utf8"),
  };
}
