import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { writePrivately } from "../state/secret-store.ts";

/** `sun_path` of a unix socket on Linux, without the closing zero byte. */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Writes what `libvirtd --config <folder>/libvirtd.conf` needs to serve libvirt's test driver on `<folder>/run`, and
 * an empty folder for its drivers. Returns the socket's path.
 */
export function writeLibvirtdFiles(folder: string): Result<string, string> {
  const run = join(folder, "run");
  const socket = join(run, "libvirt-sock");
  // The longest name of the three sockets that it makes there.
  if (Buffer.byteLength(join(run, "libvirt-admin-sock")) > SOCKET_PATH_BYTES_MAX)
    return err(`the path of libvirt's socket, ${socket}, is too long for the system: choose a shorter --out`);
  // libvirt's configuration takes double-quoted text without escapes.
  if (/["\n]/.test(run)) return err(`the path ${run} must hold no quotes and no line breaks: choose another --out`);
  for (const path of [folder, run, join(folder, "drivers")]) mkdirSync(path, { recursive: true, mode: 0o700 });
  const conf = [
    `unix_sock_dir = "${run}"`,
    // Whoever opens the socket rules the host; the folders above are its owner's alone.
    'unix_sock_rw_perms = "0700"',
    'auth_unix_ro = "none"',
    'auth_unix_rw = "none"',
    "",
  ];
  writePrivately(join(folder, "libvirtd.conf"), conf.join("\n"));
  return ok(socket);
}
