import { readFileSync } from "node:fs";
import { readdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { StoreFault } from "./store-fault.ts";

const standSchema = z.object({ term: z.int().min(0), commits: z.int().min(0) });

/** How far a store had got: its term, and the number of its last commit. */
export type Stand = z.output<typeof standSchema>;

/**
 * A note beside the database of how far it had got, written after each commit without waiting for the disk. LevelDB takes
 * a log that was cut off for the trace of a crash, and an older copy of its folder for sound: the note tells otherwise.
 */
export class LevelWitness {
  readonly #path: string;
  #next: Stand | undefined;
  #writing: Promise<void> | undefined;

  constructor(folder: string) {
    this.#path = join(folder, "witness.json");
  }

  /** What was noted last; nothing where there is no note that can be read. */
  read(): Stand | undefined {
    try {
      return standSchema.safeParse(JSON.parse(readFileSync(this.#path, "utf8"))).data;
    } catch {
      return undefined;
    }
  }

  /** Notes it soon; what comes while a note is being written is noted after it, the last one only. */
  note(stand: Stand): void {
    this.#next = stand;
    this.#writing ??= this.#write();
  }

  /** Waits until the last note is written, or could not be. */
  async settle(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async #write(): Promise<void> {
    for (let stand = this.#next; stand !== undefined; stand = this.#next) {
      this.#next = undefined;
      try {
        await writeFile(`${this.#path}.new`, JSON.stringify(stand), { mode: 0o600 });
        await rename(`${this.#path}.new`, this.#path);
      } catch {
        // No space, no folder: an older note says less, and nothing wrong.
      }
    }
    this.#writing = undefined;
  }
}

/** What a store is refused with that stands behind its note, unless its admin says to go on above `termFloor`. */
export function wentBack(
  folder: string,
  found: Stand,
  noted: Stand | undefined,
  termFloor: number,
): StoreFault | undefined {
  if (noted === undefined || (found.term >= noted.term && found.commits >= noted.commits)) return undefined;
  if (termFloor >= Math.max(noted.term, found.term)) return undefined;
  return {
    kind: "went-back",
    message:
      `${folder} stands at term ${found.term}, commit ${found.commits}, and had been at term ${noted.term}, commit ` +
      `${noted.commits}: an older copy was put in place, or what was written last is lost. Stop all managers of the site, ` +
      `then run: muster restore --in-place --above ${noted.term} --config FILE, or restore a newer backup`,
  };
}

/** Where a restore puts a new database together; what is found there was left by one that was interrupted. */
export const RESTORING = "restoring";

/**
 * What is wrong with the files of a database that LevelDB would replace by an empty one without a word: some of them
 * there, and `CURRENT` not.
 */
export async function missingParts(folder: string): Promise<StoreFault | undefined> {
  const database = join(folder, "db");
  if (await exists(join(database, "CURRENT"))) return undefined;
  if (await exists(join(folder, RESTORING)))
    return { kind: "damaged", message: `${folder}: a restore was interrupted; run the same muster restore again` };
  const left = (await namesIn(database)).filter((name) => /^(MANIFEST-\d+|\d+\.(ldb|sst|log))$/.test(name));
  if (left.length === 0) return undefined;
  return {
    kind: "damaged",
    message:
      `${database} has ${left.length} files of a database, and no CURRENT that says how they belong together; ` +
      "restore a backup with: muster restore FILE --config FILE, or save what is left with: muster restore --salvage",
  };
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function namesIn(path: string): Promise<readonly string[]> {
  return readdir(path).catch(() => []);
}
