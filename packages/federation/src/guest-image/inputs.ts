import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { ok, type Result } from "@muster/base";
import { runProgram } from "../process/run-program.ts";

/** Files of the guest that are ours. */
export const GUEST_ROOT = join(import.meta.dirname, "root");
export const BOOT_FILES = join(import.meta.dirname, "boot");

/** Debian packages that files of the image come from, or that make it what it is. */
const PACKAGES = ["busybox-static", "dropbear-bin", "syslinux", "syslinux-common"];

/**
 * Name for everything that the image is made of, so that a change of any of it makes another image: our own files, how they are
 * put together, and the packages installed here. The kernel is whichever Debian had at the time: a newer one alone makes no new
 * image, so that a kept one needs no network.
 */
export async function inputsKey(): Promise<Result<string, string>> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own notation
  const format = "${Package} ${Version} ${Architecture}\\n";
  const versions = await runProgram("dpkg-query", ["-W", "-f", format, ...PACKAGES]);
  if (!versions.ok) return versions;
  const hash = createHash("sha256").update(versions.value);
  for (const file of filesBelow(import.meta.dirname)) hash.update(`\0${file.name}\0`).update(readFileSync(file.path));
  return ok(hash.digest("hex").slice(0, 24));
}

function filesBelow(folder: string): readonly { readonly name: string; readonly path: string }[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => ({ name, path: join(folder, name) }))
    .filter(({ name, path }) => !name.endsWith(".test.ts") && statSync(path).isFile());
}
