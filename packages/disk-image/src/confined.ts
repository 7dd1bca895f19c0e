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
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export type ToolEnd = { readonly code: number; readonly stdout: string; readonly stderr: string };

/**
 * `qemu-img <args>` with the open file `fd` as its standard input and only file, by the name `CONFINED_FILE`. As root it
 * becomes nobody first, and has no network where the kernel lets us; an ordinary user keeps itself and gains nothing more.
 */
export async function runConfined(fd: number, args: readonly string[]): Promise<Result<ToolEnd, ImageFault>> {
  const limits = [`--as=${MEMORY_BYTES_MAX}`, `--cpu=${CPU_SECONDS_MAX}`, "--fsize=0", "--core=0", "--nofile=64"];
  const tool = ["prlimit", ...limits, "--", "qemu-img", ...args];
  if (process.getuid?.() !== 0) return carryOut(fd, ["setpriv", "--inh-caps=-all", "--no-new-privs", "--", ...tool]);
  const identity = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--bounding-set=-all"];
  const asNobody = ["setpriv", ...identity, "--inh-caps=-all", "--no-new-privs", "--", ...tool] as const;
  const ended = await carryOut(fd, ["unshare", "--net", "--ipc", "--", ...asNobody]);
  // Root of a container often may make no namespace.
  return ended.ok && ended.value.stderr.startsWith("unshare: unshare failed") ? carryOut(fd, asNobody) : ended;
}

function carryOut(fd: number, words: readonly [string, ...string[]]): Promise<Result<ToolEnd, ImageFault>> {
  const [program, ...args] = words;
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: [fd, "pipe", "pipe"],
      cwd: "/",
      env: { PATH, LC_ALL: "C" },
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    const stdout = bounded();
    const stderr = bounded();
    child.stdout?.on("data", stdout.take);
    child.stderr?.on("data", stderr.take);
    child.once("error", (cause) =>
      resolve(err(imageFault("not-inspected", `${cause.message}: install util-linux on this machine`))),
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
export const CONFINED_FILE = "/dev/stdin";

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
