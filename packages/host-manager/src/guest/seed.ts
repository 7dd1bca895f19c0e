import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { exists } from "./disk.ts";
import { runProgram } from "./program.ts";
import { type SeedWish, seedDocuments } from "./seed-documents.ts";

const BUILD_MS = 30_000;

/** Makes the volume with a guest's first words at `path` (ISO 9660, label `cidata`), or leaves the one that is there. */
export async function makeSeed(path: string, wish: SeedWish): Promise<Result<void, string>> {
  if (await exists(path)) return ok(undefined);
  const folder = `${path}.files`;
  const part = `${path}.part`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
  try {
    const documents = Object.entries(seedDocuments(wish));
    for (const [name, text] of documents) await writeFile(join(folder, name), text, { mode: 0o600 });
    const files = documents.map(([name]) => `${name}=${join(folder, name)}`);
    const options = ["-quiet", "-volid", "cidata", "-joliet", "-rock", "-graft-points", "-output", part] as const;
    const made = await runProgram(["genisoimage", ...options, ...files], { timeoutMs: BUILD_MS });
    if (!made.ok) return err(`the seed cannot be made: ${made.error}`);
    await rename(part, path);
    return ok(undefined);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
