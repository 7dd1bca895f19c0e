import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, open, readdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { err, ok, type Result } from "@muster/base";
import { hostsFile, prosodyConfig } from "./prosody-config.ts";
import { type ProsodySite, siteFiles } from "./prosody-site.ts";
import { makeParents, type RunAs, reachableBy } from "./run-as.ts";
import { errorCode, fileFault, type ServerFault } from "./server-fault.ts";

/** Our Prosody modules in a checkout. They are copied, since the server's user may be unable to read the checkout. */
export const MODULES_FOLDER = fileURLToPath(new URL("../../../deploy/prosody-modules", import.meta.url));

/** Makes the server's folders, for its user alone, and checks that this user can get there. */
export async function prepareFolders(
  root: string,
  below: readonly string[],
  runAs: RunAs,
): Promise<Result<void, ServerFault>> {
  try {
    await makeParents(root);
    for (const folder of [root, ...below]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
      if (runAs !== undefined) await chown(folder, runAs.uid, runAs.gid);
    }
    return await reachableBy(runAs, root);
  } catch (error) {
    return err(fileFault(error, root));
  }
}

/** Makes the folders of a site on Prosody. */
export function prepareFolder({ folder }: ProsodySite, runAs: RunAs): Promise<Result<void, ServerFault>> {
  const { data, modules } = siteFiles(folder);
  return prepareFolders(folder, [data, modules], runAs);
}

/** Writes configuration, hosts file and modules; each file is replaced as a whole and is its owner's alone. */
export async function writeSite(
  site: ProsodySite,
  runAs: RunAs,
  modulesFolder: string,
): Promise<Result<void, ServerFault>> {
  const files = siteFiles(site.folder);
  try {
    for (const name of await readdir(modulesFolder)) {
      if (!name.endsWith(".lua")) continue;
      await writeWhole(join(files.modules, name), await readFile(join(modulesFolder, name)), runAs);
    }
    await writeWhole(files.hosts, hostsFile(site), runAs);
    await writeWhole(files.config, prosodyConfig(site), runAs);
    return ok(undefined);
  } catch (error) {
    return err(fileFault(error, site.folder));
  }
}

/** Sets a log longer than `bytesMax` aside as `<log>.1`, replacing the one before; tells whether it did (S2). */
export async function rotateLog(log: string, bytesMax: number): Promise<boolean> {
  const bytes = await stat(log).then(
    ({ size }) => size,
    () => 0,
  );
  if (bytes <= bytesMax) return false;
  await rename(log, `${log}.1`);
  return true;
}

/** The last `lines` lines of the server's log, oldest first; at most 8 KiB of it are read. */
export async function tailLog(log: string, lines: number): Promise<readonly string[]> {
  const handle = await open(log).catch(() => undefined);
  if (handle === undefined) return [];
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.min(size, 8 * 1024));
    await handle.read(buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString("utf8").trimEnd().split("\n").slice(-lines);
  } finally {
    await handle.close();
  }
}

/** Replaces a file as a whole; it is readable by its owner (`runAs`, or ourselves) only. */
export async function writeWhole(path: string, content: string | Buffer, runAs: RunAs): Promise<void> {
  const staged = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const handle = await open(staged, "wx", 0o600);
    try {
      await handle.writeFile(content);
      if (runAs !== undefined) await handle.chown(runAs.uid, runAs.gid);
    } finally {
      await handle.close();
    }
    await rename(staged, path);
  } catch (error) {
    await unlink(staged).catch((cause: unknown) => {
      if (errorCode(cause) !== "ENOENT") throw cause;
    });
    throw error;
  }
}
