import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export type Process = { readonly pid: number; readonly command: string };

/** Every process whose command line names the folder, or that has the folder for its own. */
export function processesOf(folder: string): readonly Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({ pid: Number(name), command: read(`/proc/${name}/cmdline`).replaceAll("\0", " ").trim() }))
    .filter(({ command }) => command.includes(`${folder}/`) || command.endsWith(folder));
}

/** The process that a part of the federation runs in. */
export function processOf(folder: string, part: RegExp): Process {
  const found = processesOf(folder).filter(({ command }) => part.test(command));
  const [only] = found;
  if (only === undefined || found.length > 1) throw new Error(`${found.length} processes match ${part}`);
  return only;
}

/** What a federation must not leave behind: processes, listening ports, sockets, mounts; each as a line. */
export function tracesOf(folder: string, loopbacks: readonly number[]): readonly string[] {
  return [
    ...processesOf(folder).map(({ pid, command }) => `process ${pid}: ${command}`),
    ...loopbacks.flatMap(listeningOn).map((address) => `listens on ${address}`),
    ...socketsIn(folder).map((path) => `socket ${path}`),
    ...read("/proc/mounts")
      .split("\n")
      .filter((line) => line.includes(` ${folder}/`))
      .map((line) => `mount ${line}`),
  ];
}

/** Sockets in state LISTEN (0A) on 127.0.<loopback>.0/24 (proc(5), /proc/net/tcp: addresses in little-endian hex). */
function listeningOn(loopback: number): readonly string[] {
  return read("/proc/net/tcp")
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A")
    .map(([, local = ""]) => {
      const [address = "", port = ""] = local.split(":");
      const bytes = [...Buffer.from(address, "hex")].reverse();
      return `${bytes.join(".")}:${Number.parseInt(port, 16)}`;
    })
    .filter((address) => address.startsWith(`127.0.${loopback}.`));
}

function socketsIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: "utf8" })
      .map((name) => join(folder, name))
      .filter((path) => statSync(path, { throwIfNoEntry: false })?.isSocket() === true);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
