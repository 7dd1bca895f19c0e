/**
 * `<state>/guests/<vm>/`: everything of a VM on this host lies in one folder, so that deleting it is removing a folder.
 * `guest.json` tells of which attempt it is and how far that got.
 */
import { access, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { readOverlay } from "@muster/disk-image";
import { attemptSchema, vmIdSchema } from "@muster/protocol";
import { z } from "zod";

/**
 * - `making`: nothing of it has run; a refusal may take it all away.
 * - `started`: it ran, and its disk is the user's: only an order deletes it (H3).
 * - `deleting`: that order came; what is left goes, also after a crash.
 */
const recordSchema = z.object({ attempt: attemptSchema, stage: z.enum(["making", "started", "deleting"]) });
export type GuestRecord = z.output<typeof recordSchema>;

/** Paths of one VM. */
export type GuestPaths = {
  readonly folder: string;
  readonly record: string;
  readonly disk: string;
  readonly seed: string;
  readonly serialLog: string;
  readonly nvram: string;
};

/** What a folder is called while it is removed. */
const ASIDE = ".removed";

export class GuestFolders {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** QEMU may run as another account: it must be able to pass through, and to read nothing that it is not given. */
  async open(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o711 });
    for (const name of await readdir(this.#root)) {
      if (name.endsWith(ASIDE)) await rm(join(this.#root, name), { recursive: true, force: true });
    }
  }

  paths(vm: string): GuestPaths {
    const folder = join(this.#root, vm);
    const at = (name: string): string => join(folder, name);
    return {
      folder,
      record: at("guest.json"),
      disk: at("disk.qcow2"),
      seed: at("seed.iso"),
      serialLog: at("serial.log"),
      nvram: at("nvram.fd"),
    };
  }

  /** VMs that have a folder here. */
  async list(): Promise<readonly string[]> {
    const names = await readdir(this.#root);
    return names.filter((name) => vmIdSchema.safeParse(name).success);
  }

  /** `undefined` where there is no folder, or one of which nothing is known. */
  async record(vm: string): Promise<GuestRecord | undefined> {
    const text = await readFile(this.paths(vm).record, "utf8").catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      const read = recordSchema.safeParse(JSON.parse(text));
      return read.success ? read.data : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * The folder for this attempt, which goes on where it was; what an earlier attempt left is taken away. A disk of which
   * nobody knows whose it is stays (H3): the fault is a sentence.
   */
  async make(vm: string, attempt: number): Promise<Result<void, string>> {
    const there = await this.record(vm);
    if (there?.attempt === attempt && there.stage !== "deleting") return ok(undefined);
    const { folder } = this.paths(vm);
    if (there === undefined && (await this.isStrange(vm))) {
      return err(`a disk of an unknown attempt lies in ${folder}: look at it and move it away`);
    }
    await this.remove(vm);
    await mkdir(folder, { mode: 0o711 });
    await this.note(vm, { attempt, stage: "making" });
    return ok(undefined);
  }

  /** Whether a disk lies there of which nothing is known. */
  async isStrange(vm: string): Promise<boolean> {
    return (await this.record(vm)) === undefined && (await isThere(this.paths(vm).disk));
  }

  /** Written beside, synced and renamed: after a crash there is the old record or the new one. */
  async note(vm: string, record: GuestRecord): Promise<void> {
    const { record: path } = this.paths(vm);
    const part = `${path}.part`;
    const file = await open(part, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify(record));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(part, path);
  }

  /** Put aside at once and then removed: a crash meanwhile leaves no half of a folder that looks like a whole one. */
  async remove(vm: string): Promise<void> {
    const { folder } = this.paths(vm);
    const aside = `${folder}${ASIDE}`;
    await rm(aside, { recursive: true, force: true });
    const moved = await rename(folder, aside).then(
      () => true,
      (cause) => {
        if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return false;
        throw cause;
      },
    );
    if (moved) await rm(aside, { recursive: true, force: true });
  }

  /** Files that lie under some disk here, as the disks themselves say. Throws where a disk that is there cannot be read. */
  async bases(): Promise<ReadonlySet<string>> {
    const bases = new Set<string>();
    for (const vm of await this.list()) {
      const { folder } = this.paths(vm);
      for (const name of await readdir(folder).catch(noneIfGone<string[]>([]))) {
        if (!name.endsWith(".qcow2")) continue;
        const disk = await readOverlay(join(folder, name)).catch(noneIfGone(undefined));
        if (disk?.backingFile !== undefined) bases.add(disk.backingFile);
      }
    }
    return bases;
  }
}

/** A VM may be deleted meanwhile; anything else would let the file under a disk be taken for unused. */
function noneIfGone<Value>(none: Value): (cause: unknown) => Value {
  return (cause) => {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return none;
    throw cause;
  };
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
