import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, err, ok, type Result, type Rng } from "@muster/base";
import { Level } from "level";
import { z } from "zod";
import type { Config } from "../config.ts";
import { readLeaderNote } from "../leadership/leader-note.ts";
import { siteStore } from "../leadership/site-store.ts";
import { lockHolder } from "../leadership/store-lock.ts";
import { openLevelStore } from "./level-store.ts";
import { LevelWitness, RESTORING } from "./level-witness.ts";
import type { Store } from "./store.ts";
import type { StoreFault } from "./store-fault.ts";

/** Where a restore writes, opened by it alone: no manager leads over it meanwhile. */
export type Target = {
  readonly store: Store;
  /** What was there before and is kept, for the admin to remove. */
  readonly kept: string | undefined;
  /** Closes it, and puts what was written in the place where managers look for it. */
  finish(): Promise<void>;
  /** Closes it, and leaves what was there before as it was. */
  abandon(): Promise<void>;
};

export type TargetParts = { readonly clock: Clock; readonly rng: Rng };

/** No site changes its leader so often between a backup and its restore; where it did, the first host tells. */
const MARGIN = 500;
const THOUSAND = 1_000;

/** The last thousand of terms that is given up, so that a restored site leads above all that hosts can have obeyed (H1). */
export function floorAbove(term: number): number {
  return (Math.floor((term + MARGIN) / THOUSAND) + 1) * THOUSAND;
}

/** The store as it stands, opened above `knownTerm` and above what it says of itself. */
export async function openAbove(
  config: Config,
  knownTerm: number,
  parts: TargetParts,
): Promise<Result<Store, StoreFault>> {
  const { store } = config;
  const told = store.kind === "level" ? Math.max(new LevelWitness(store.path).read()?.term ?? 0, noted(store.path)) : 0;
  for (let known = Math.max(knownTerm, told); ; ) {
    const floor = floorAbove(known);
    const opened = await openWith(config, floor, parts);
    if (!opened.ok || opened.value.term === floor + 1) return opened;
    // It had got further than was known: it is opened once more, above that.
    known = opened.value.term;
    await opened.value.close();
  }
}

async function openWith(config: Config, termFloor: number, parts: TargetParts): Promise<Result<Store, StoreFault>> {
  const { store } = config;
  if (store.kind === "level") return openLevelStore({ path: store.path, manager: "restore", termFloor });
  const asked = {
    ...config,
    name: "restore",
    store: { ...store, termFloor: Math.max(termFloor, store.termFloor ?? 0) },
  };
  const open = siteStore(asked, parts);
  if (!open.ok) return err({ kind: "unusable", message: open.error });
  const made = open.value({ onWarning: () => {}, onDeposed: () => {}, url: () => "" });
  return made.kind === "etcd" ? made.open({}) : made.open();
}

/**
 * The folder of a stopped site, to be filled from a backup. The new database is put together beside the old one and takes
 * its place when it is whole; the old one is kept.
 */
export async function freshLevel(path: string, knownTerm: number, stamp: string): Promise<Result<Target, string>> {
  const holder = lockHolder(path);
  if (holder.kind !== "free")
    return err(
      `${path} is held by ${holder.kind === "held" ? `process ${holder.pid}` : "a manager"}; stop all managers`,
    );
  await mkdir(path, { recursive: true, mode: 0o700 });
  // Kept open to the end where it can be: a manager that waits for it must not begin to lead over what is replaced.
  const old = await openOld(join(path, "db"));
  const known = Math.max(knownTerm, old?.term ?? 0, new LevelWitness(path).read()?.term ?? 0, noted(path));
  const fresh = join(path, RESTORING);
  await rm(fresh, { recursive: true, force: true });
  const opened = await openLevelStore({ path: fresh, manager: "restore", termFloor: floorAbove(known) });
  if (!opened.ok) {
    await old?.close();
    return err(opened.error.message);
  }
  const store = opened.value;
  const kept = (await readdir(path)).includes("db") ? join(path, `replaced-${stamp}`) : undefined;
  return ok({
    store,
    kept,
    async finish() {
      await store.close();
      if (kept !== undefined) await rename(join(path, "db"), kept);
      await rename(join(fresh, "db"), join(path, "db"));
      await rename(join(fresh, "witness.json"), join(path, "witness.json")).catch(() => {});
      await rm(join(path, "leader.json"), { force: true });
      await rm(fresh, { recursive: true, force: true });
      await old?.close();
    },
    async abandon() {
      await store.close();
      await rm(fresh, { recursive: true, force: true });
      await old?.close();
    },
  });
}

function noted(path: string): number {
  return readLeaderNote(path)?.term ?? 0;
}

const metaSchema = z.looseObject({ term: z.int().min(0) });

/** The database that is to be replaced, and its term; nothing where it is damaged or not there. */
async function openOld(path: string): Promise<{ readonly term: number; close(): Promise<void> } | undefined> {
  const database = new Level<string, string>(path, { createIfMissing: false });
  try {
    await database.open();
  } catch {
    return undefined;
  }
  const close = (): Promise<void> => database.close();
  try {
    const meta = metaSchema.safeParse(JSON.parse((await database.get("meta/site")) ?? "{}"));
    return { term: meta.data?.term ?? 0, close };
  } catch {
    return { term: 0, close };
  }
}
