import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Where the kernel takes limits of block devices: control groups of version 1, or of version 2. */
const HIERARCHIES = [
  {
    folder: "/sys/fs/cgroup/blkio",
    file: "blkio.throttle.write_iops_device",
    limit: (writes: number) => `${writes}`,
    home: /^\d+:blkio:(.*)$/m,
  },
  { folder: "/sys/fs/cgroup", file: "io.max", limit: (writes: number) => `wiops=${writes}`, home: /^0::(.*)$/m },
] as const;
type Hierarchy = (typeof HIERARCHIES)[number];

/**
 * A disk that is slow for some processes and as ever for all others: the kernel lets them write so many times a second
 * (Linux, Documentation/admin-guide/cgroup-v1/blkio-controller.rst and cgroup-v2.rst). Needs root.
 */
export class SlowDisk {
  readonly #group: string;
  readonly #hierarchy: Hierarchy;
  /** The group that each process came from. */
  readonly #homes = new Map<number, string>();
  #closed = false;

  private constructor(group: string, hierarchy: Hierarchy) {
    this.#group = group;
    this.#hierarchy = hierarchy;
  }

  /** `undefined` where the kernel cannot slow the disk of `path` down: no such control group, no rights, no disk. */
  static open(path: string, writesPerSecond: number): SlowDisk | undefined {
    const { dev } = statSync(path);
    // The whole disk is limited, not one of its partitions; devices without a name of their own are none.
    const device = diskOf(Number((BigInt(dev) >> 8n) & 0xfffn), dev & 0xff);
    if (device === undefined) return undefined;
    for (const hierarchy of HIERARCHIES) {
      const { folder, file, limit } = hierarchy;
      const group = join(folder, `muster-test-${process.pid}`);
      try {
        mkdirSync(group);
      } catch {
        continue;
      }
      try {
        writeFileSync(join(group, file), `${device} ${limit(writesPerSecond)}`);
        return new SlowDisk(group, hierarchy);
      } catch {
        rmdirSync(group);
      }
    }
    return undefined;
  }

  /** From now on the disk is slow for this process. */
  slow(pid: number): void {
    const home = this.#hierarchy.home.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "/";
    writeFileSync(join(this.#group, "cgroup.procs"), `${pid}`);
    this.#homes.set(pid, home);
  }

  /** As fast as ever for all of them. Closing again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const [pid, home] of this.#homes) {
      try {
        writeFileSync(join(this.#hierarchy.folder, home, "cgroup.procs"), `${pid}`);
      } catch {
        // It has ended meanwhile, and its place in the group with it.
      }
    }
    rmdirSync(this.#group);
  }
}

/** `major:minor` of the disk behind a device, by sysfs: a partition lies in its disk's folder. */
function diskOf(major: number, minor: number): string | undefined {
  const own = `/sys/dev/block/${major}:${minor}`;
  for (const path of [`${own}/partition`, own]) {
    try {
      if (path === own) return readFileSync(`${own}/dev`, "utf8").trim();
      readFileSync(path);
      return readFileSync(`${own}/../dev`, "utf8").trim();
    } catch {
      // Not a partition, or no disk at all.
    }
  }
  return undefined;
}
