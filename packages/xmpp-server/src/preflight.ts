import { access, constants, readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { errorCode, fileFault, type ServerFault } from "./server-fault.ts";

/** The full path of a program, looked for where a shell would and in the system's own folders. */
export async function findBinary(binary: string, debianPackage: string): Promise<Result<string, ServerFault>> {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  for (const folder of folders) {
    if (folder === "") continue;
    const path = join(folder, binary);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return ok(path);
  }
  return err({ kind: "binary-missing", binary, debianPackage });
}

/** Checks that files which the server cannot do without are there. */
export async function checkReadable(paths: readonly string[]): Promise<Result<void, ServerFault>> {
  for (const path of paths) {
    try {
      await access(path, constants.R_OK);
    } catch (error) {
      return err(fileFault(error, path));
    }
  }
  return ok(undefined);
}

/** An address and port that a server is about to listen on. */
export type Endpoint = { readonly address: string; readonly port: number };

/**
 * Checks that all endpoints are free, by listening there for a moment. Prosody itself only logs a port that it did not
 * get and goes on without.
 */
export async function checkFree(endpoints: readonly Endpoint[]): Promise<Result<void, ServerFault>> {
  for (const endpoint of endpoints) {
    const fault = await listenOnce(endpoint);
    if (fault !== undefined) return err(fault);
  }
  return ok(undefined);
}

async function listenOnce({ address, port }: Endpoint): Promise<ServerFault | undefined> {
  const error = await new Promise<Error | undefined>((resolve) => {
    const server = createServer();
    server.once("error", resolve);
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
  if (error === undefined) return undefined;
  const code = errorCode(error);
  if (code === "EADDRNOTAVAIL") return { kind: "address-unavailable", address };
  if (code !== "EADDRINUSE")
    return { kind: "port-refused", address, port, reason: code === "EACCES" ? "not permitted" : error.message };
  const holder = await findHolder({ address, port });
  return { kind: "port-in-use", address, port, ...(holder === undefined ? {} : { holder }) };
}

/** Who listens there, as `pid name`, read from /proc; only our own processes are seen unless we are root. */
async function findHolder({ address, port }: Endpoint): Promise<string | undefined> {
  const table = await readFile("/proc/net/tcp", "utf8").catch(() => "");
  // proc(5): the address as a number in the machine's byte order, little-endian where Node runs; all zero is any.
  const hex = (value: number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, "0");
  const number = address
    .split(".")
    .reverse()
    .map((part) => hex(Number(part), 2));
  const wanted = [number.join(""), "00000000"].map((at) => `${at}:${hex(port, 4)}`);
  const LISTENING = "0A";
  const inodes = new Set<string>();
  for (const line of table.split("\n").slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (wanted.includes(fields[1] ?? "") && fields[3] === LISTENING) inodes.add(`socket:[${fields[9]}]`);
  }
  if (inodes.size === 0) return undefined;
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const handles = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const handle of handles) {
      const target = await readlink(`/proc/${pid}/fd/${handle}`).catch(() => "");
      if (!inodes.has(target)) continue;
      const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
      return `${pid} ${name.trim()}`.trim();
    }
  }
  return undefined;
}
