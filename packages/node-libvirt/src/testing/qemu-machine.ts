import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PrivateDaemon } from "../daemon/private-daemon.ts";
import { startQemuDaemon } from "../daemon/qemu-daemon.ts";

/** What libvirt found out about QEMU, kept between the files of a test run and between runs. */
const CACHE_DIR = fileURLToPath(new URL("../../../../node_modules/.cache/libvirt-qemu", import.meta.url));

/** A real libvirtd with QEMU in a temporary folder; `remove` ends its guests too, and takes the folder away. */
export interface QemuMachine {
  daemon: PrivateDaemon;
  readonly folder: string;
  /** Starts the daemon anew over the same folder, as after its end. */
  restart(): Promise<void>;
  remove(): Promise<void>;
}

/** Why no guest of libvirt's privileged QEMU driver can be run here; undefined where one can. */
export function whyNoQemu(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  for (const program of ["libvirtd", "qemu-system-x86_64", "qemu-img", "genisoimage", "unshare", "setpriv"]) {
    if (spawnSync("sh", ["-c", `PATH=$PATH:/usr/sbin command -v ${program}`]).status !== 0) return `no ${program}`;
  }
  const mount = spawnSync("unshare", ["--mount", "--", "true"], { encoding: "utf8" });
  return mount.status === 0 ? undefined : `no mount namespaces: ${mount.stderr.trim()}`;
}

export async function startQemuMachine(): Promise<QemuMachine> {
  const folder = await mkdtemp(join(tmpdir(), "nlv-q-"));
  const start = () => startQemuDaemon({ stateDir: join(folder, "lv"), mode: "system", cacheDir: CACHE_DIR });
  const machine: QemuMachine = {
    daemon: await start(),
    folder,
    async restart() {
      await machine.daemon.stop();
      machine.daemon = await start();
    },
    async remove() {
      await machine.daemon.stop();
      await killGuests(join(folder, "lv", "run", "qemu"));
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
  return machine;
}

/** Guests outlive their daemon; each has left its process id. */
async function killGuests(runDir: string): Promise<void> {
  const names = await readdir(runDir).catch(() => []);
  for (const name of names.filter((one) => one.endsWith(".pid"))) {
    const pid = Number(await readFile(join(runDir, name), "utf8").catch(() => ""));
    const words = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (pid > 1 && words.includes("qemu")) process.kill(pid, "SIGKILL");
  }
}
