import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Who holds LevelDB's lock: a process by its number, nobody, or somebody the kernel does not show us. */
export type LockHolder =
  | { readonly kind: "held"; readonly pid: number }
  | { readonly kind: "free" }
  | { readonly kind: "unknown" };

/**
 * Reads from the kernel (proc(5), /proc/locks) who holds the store's lock, without opening the lock file: closing it would
 * give up a lock of our own (fcntl(2), "advisory record locking").
 */
export function lockHolder(storePath: string): LockHolder {
  try {
    const file = statSync(join(storePath, "db", "LOCK"), { bigint: true, throwIfNoEntry: false });
    if (file === undefined) return { kind: "free" };
    return holderIn(readFileSync("/proc/locks", "utf8"), file);
  } catch {
    return { kind: "unknown" };
  }
}

/** Finds `device:inode` in the kernel's list: `1: POSIX  ADVISORY  WRITE 30700 fe:00:2147309 0 EOF`. */
export function holderIn(list: string, file: { readonly dev: bigint; readonly ino: bigint }): LockHolder {
  const place = `${hex(major(file.dev))}:${hex(minor(file.dev))}:${file.ino}`;
  for (const line of list.split("\n")) {
    const [, kind, , mode, pid, where] = line.trim().split(/\s+/);
    if (kind !== "POSIX" || mode !== "WRITE" || where !== place) continue;
    const holder = Number(pid);
    // Holders outside our process namespace are shown without a number of ours.
    return Number.isInteger(holder) && holder > 0 ? { kind: "held", pid: holder } : { kind: "unknown" };
  }
  return { kind: "free" };
}

/** Device numbers as glibc packs them (makedev(3)). */
function major(dev: bigint): bigint {
  return ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n);
}

function minor(dev: bigint): bigint {
  return (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n);
}

function hex(value: bigint): string {
  return value.toString(16).padStart(2, "0");
}
