import { chmodSync, copyFileSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ok, type Result } from "@muster/base";
import { runProgram } from "../process/run-program.ts";
import { GUEST_ROOT } from "./inputs.ts";
import { modulesInOrder } from "./kernel-modules.ts";
import type { Kernel } from "./kernel-package.ts";

const BUSYBOX = "/bin/busybox";
const SSH_PROGRAMS = ["/usr/sbin/dropbear", "/usr/bin/dropbearkey"];
const FOLDERS = ["bin", "sbin", "usr/sbin", "usr/bin", "proc", "sys", "dev", "tmp", "var/log", "lib/modules", "home"];

/** Puts the guest's root file system together below `work`; returns the path of the packed initial RAM disk. */
export async function buildInitramfs(kernel: Kernel, work: string): Promise<Result<string, string>> {
  const root = join(work, "root");
  cpSync(GUEST_ROOT, root, { recursive: true });
  for (const folder of FOLDERS) mkdirSync(join(root, folder), { recursive: true });
  // A checkout may have been unpacked without modes.
  for (const script of [
    "etc/init/boot",
    "etc/init/seed",
    "etc/init/network",
    "etc/init/lease",
    "etc/acpi/PWRF/00000080",
  ])
    chmodSync(join(root, script), 0o755);
  for (const script of ["counter", "count"]) chmodSync(join(root, "usr/bin", script), 0o755);
  writeFileSync(join(root, "etc/resolv.conf"), "");
  symlinkSync("bin/busybox", join(root, "init"));
  const tools = await addBusybox(root);
  if (!tools.ok) return tools;
  const ssh = await addPrograms(root, SSH_PROGRAMS);
  if (!ssh.ok) return ssh;
  addModules(root, kernel);
  const packed = await runProgram(
    "/bin/sh",
    ["-c", "set -e; find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet | gzip -9 > ../initrd.img"],
    { cwd: root },
  );
  return packed.ok ? ok(join(work, "initrd.img")) : packed;
}

async function addBusybox(root: string): Promise<Result<void, string>> {
  copyFileSync(BUSYBOX, join(root, "bin/busybox"));
  const applets = await runProgram(BUSYBOX, ["--list-full"]);
  if (!applets.ok) return applets;
  for (const path of applets.value.split("\n").filter((line) => line !== "" && line !== "bin/busybox")) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    symlinkSync("/bin/busybox", join(root, path));
  }
  return ok(undefined);
}

/** Copies programs with the libraries that the dynamic linker finds for them. */
async function addPrograms(root: string, programs: readonly string[]): Promise<Result<void, string>> {
  for (const program of programs) {
    copyFileSync(program, join(root, "usr/sbin", basename(program)));
    const linked = await runProgram("ldd", [program]);
    if (!linked.ok) return linked;
    for (const [, library = ""] of linked.value.matchAll(/(\/\S+) \(0x/g)) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      copyFileSync(library, join(root, library));
    }
  }
  return ok(undefined);
}

/** The modules in one folder, and a list of them in the order in which they are to be loaded. */
function addModules(root: string, kernel: Kernel): void {
  const order = modulesInOrder(kernel.modules);
  for (const path of order) copyFileSync(path, join(root, "lib/modules", basename(path)));
  writeFileSync(join(root, "lib/modules/order"), order.map((path) => `/lib/modules/${basename(path)}\n`).join(""));
}
