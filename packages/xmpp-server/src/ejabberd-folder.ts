import { execFile } from "node:child_process";
import { chmod, chown, copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { err, ok, type Result } from "@muster/base";
import { EJABBERD_MODULE, ejabberdConfig } from "./ejabberd-config.ts";
import { type EjabberdSite, ejabberdFiles } from "./ejabberd-site.ts";
import { hostsFile } from "./prosody-config.ts";
import type { RunAs } from "./run-as.ts";
import { fileFault, type ServerFault } from "./server-fault.ts";
import { prepareFolders, writeWhole } from "./site-folder.ts";

/** Our module for ejabberd in a checkout. */
export const EJABBERD_MODULES_FOLDER = fileURLToPath(new URL("../../../deploy/ejabberd-modules", import.meta.url));

/** A name that nobody serves is unknown at once, instead of after the time-out of a name server. */
const NO_NAME_SERVER = '{resolv_conf, ""}.\n{hosts_file, ""}.\n{lookup, [file]}.\n';
const FILES_ONLY = "hosts: files\n";
const COMPILE_MS_MAX = 30_000;

/** Makes the folders of a site on ejabberd. */
export function prepareEjabberdFolder({ folder }: EjabberdSite, runAs: RunAs): Promise<Result<void, ServerFault>> {
  const { spool, modules } = ejabberdFiles(folder);
  return prepareFolders(folder, [spool, modules], runAs);
}

/** Writes configuration, names and resolver; each file is replaced as a whole and is its owner's alone. */
export async function writeEjabberdSite(site: EjabberdSite, runAs: RunAs): Promise<Result<void, ServerFault>> {
  const files = ejabberdFiles(site.folder);
  try {
    await writeWhole(files.hosts, hostsFile(site), runAs);
    await writeWhole(files.nsswitch, FILES_ONLY, runAs);
    await writeWhole(files.inetrc, site.names === undefined ? "" : NO_NAME_SERVER, runAs);
    await writeWhole(files.config, ejabberdConfig(site), runAs);
    return ok(undefined);
  } catch (error) {
    return err(fileFault(error, site.folder));
  }
}

/** Has our module compiled by the Erlang that runs the server, unless that was done with the same source. */
export async function compileModule(
  site: EjabberdSite,
  erlc: string,
  modulesFolder: string,
  runAs: RunAs,
): Promise<Result<void, ServerFault>> {
  const { modules } = ejabberdFiles(site.folder);
  const [source, kept, compiled] = [
    join(modulesFolder, `${EJABBERD_MODULE}.erl`),
    join(modules, `${EJABBERD_MODULE}.erl`),
    join(modules, `${EJABBERD_MODULE}.beam`),
  ];
  try {
    const wanted = await readFile(source);
    const known = await readFile(kept).catch(() => undefined);
    const made = await readFile(compiled).catch(() => undefined);
    if (known?.equals(wanted) === true && made !== undefined) return ok(undefined);
    const failure = await run(erlc, ["-o", modules, source]);
    if (failure !== undefined)
      return err({ kind: "module-not-loaded", module: EJABBERD_MODULE, host: site.domain, logTail: [failure] });
    // Last, so that a compilation that was interrupted is done again.
    await copyFile(source, kept);
    for (const path of [compiled, kept]) {
      await chmod(path, 0o600);
      if (runAs !== undefined) await chown(path, runAs.uid, runAs.gid);
    }
    return ok(undefined);
  } catch (error) {
    return err(fileFault(error, source));
  }
}

/** Runs a program without a shell; what it said where it failed. */
function run(program: string, parameters: readonly string[]): Promise<string | undefined> {
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", HOME: "/nonexistent" };
  return new Promise((resolve) => {
    execFile(program, [...parameters], { timeout: COMPILE_MS_MAX, env }, (error, stdout, stderr) =>
      resolve(error === null ? undefined : `${stdout}${stderr}`.trim().slice(-500) || error.message),
    );
  });
}
