import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { runProgram } from "../process/run-program.ts";

/** A kernel unpacked somewhere, not installed. */
export type Kernel = { readonly version: string; readonly vmlinuz: string; readonly modules: string };

/** Debian's kernels for virtual machines, by processor. */
const METAPACKAGE: Readonly<Record<string, string>> = { x64: "linux-image-cloud-amd64" };
const DOWNLOAD_MS = 300_000;

/** Downloads Debian's cloud kernel into `work` and unpacks it there: nothing of it is installed, no boot loader is touched. */
export async function fetchKernel(work: string): Promise<Result<Kernel, string>> {
  const metapackage = METAPACKAGE[process.arch];
  if (metapackage === undefined) return err(`there is no kernel for ${process.arch} in it, only for x64`);
  const name = await packageName(metapackage);
  if (!name.ok) return name;
  const folder = join(work, "kernel");
  mkdirSync(folder);
  const downloaded = await runProgram("apt-get", ["-q", "download", name.value], {
    cwd: folder,
    timeoutMs: DOWNLOAD_MS,
  });
  if (!downloaded.ok) return downloaded;
  const archive = readdirSync(folder).find((file) => file.endsWith(".deb"));
  if (archive === undefined) return err(`apt-get download left no package of ${name.value}`);
  const unpacked = await runProgram("dpkg-deb", ["-x", archive, "root"], { cwd: folder });
  if (!unpacked.ok) return unpacked;
  const version = name.value.replace(/^linux-image-/, "");
  const kernel = {
    version,
    vmlinuz: join(folder, "root", "boot", `vmlinuz-${version}`),
    modules: join(folder, "root", "lib", "modules", version),
  };
  return existsSync(kernel.vmlinuz) ? ok(kernel) : err(`${archive} holds no kernel ${version}`);
}

/** The package that the metapackage stands for now; where apt has no lists yet, they are fetched, which takes root. */
async function packageName(metapackage: string): Promise<Result<string, string>> {
  const known = await dependencyOf(metapackage);
  if (known.ok) return known;
  const updated = await runProgram("apt-get", ["-q", "update"], { timeoutMs: DOWNLOAD_MS });
  return updated.ok ? dependencyOf(metapackage) : updated;
}

async function dependencyOf(metapackage: string): Promise<Result<string, string>> {
  const shown = await runProgram("apt-cache", ["depends", metapackage]);
  if (!shown.ok) return shown;
  const name = /Depends: (linux-image-\S+)/.exec(shown.value)?.[1];
  return name === undefined ? err(`apt knows no kernel behind ${metapackage}`) : ok(name);
}
