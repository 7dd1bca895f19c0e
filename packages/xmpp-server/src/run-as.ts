import { chmod, mkdir, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { err, ok, type Result } from "@muster/base";
import type { ServerFault } from "./server-fault.ts";

/** The unprivileged user that a server runs as; `undefined` where we are not root and it runs as ourselves. */
export type RunAs = { readonly uid: number; readonly gid: number } | undefined;

/** Finds whom to run as: as root the user `name`, else ourselves. */
export async function findRunAs(name: string): Promise<Result<RunAs, ServerFault>> {
  if (process.getuid?.() !== 0) return ok(undefined);
  const passwd = await readFile("/etc/passwd", "utf8");
  for (const line of passwd.split("\n")) {
    const [user, , uid, gid] = line.split(":");
    if (user === name) return ok({ uid: Number(uid), gid: Number(gid) });
  }
  return err({ kind: "user-missing", user: name });
}

/**
 * Makes the folders above `folder`. As root, those that were missing are made passable for others whatever the umask
 * says, for an unprivileged server must get through; those that were there are left as they are.
 */
export async function makeParents(folder: string): Promise<void> {
  const parent = dirname(folder);
  const first = await mkdir(parent, { recursive: true });
  if (first === undefined || process.getuid?.() !== 0) return;
  for (let at = parent; at.length >= first.length; at = dirname(at)) await chmod(at, 0o711);
}

/**
 * Checks that the user may walk down to `folder`: a state folder below `/root`, for instance, is out of reach for an
 * unprivileged server. Only the folders above are looked at; `folder` itself is given to the user anyway.
 */
export async function reachableBy(runAs: RunAs, folder: string): Promise<Result<void, ServerFault>> {
  if (runAs === undefined) return ok(undefined);
  for (let at = dirname(folder); ; at = dirname(at)) {
    const { mode, uid, gid } = await stat(at);
    const searchBit = uid === runAs.uid ? 0o100 : gid === runAs.gid ? 0o010 : 0o001;
    if ((mode & searchBit) === 0) {
      const reason = `the unprivileged user ${runAs.uid} of the XMPP server may not enter ${at}: put the state elsewhere (/var/lib/muster), or chmod a+x ${at}`;
      return err({ kind: "folder-unusable", path: folder, reason });
    }
    if (at === dirname(at)) return ok(undefined);
  }
}
