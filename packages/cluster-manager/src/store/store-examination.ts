import { copyFile, link, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { z } from "zod";
import type { Config } from "../config.ts";
import { lockHolder } from "../leadership/store-lock.ts";
import { LevelWitness, missingParts, wentBack } from "./level-witness.ts";
import { recordFault } from "./record-check.ts";
import { newerSchema, STORE_SCHEMA } from "./store-fault.ts";

/** One thing that was found about a store at rest, and the one command that helps. */
export type StoreFinding = {
  readonly verdict: "ok" | "warn" | "fail";
  readonly message: string;
  readonly remedy: string;
};

/** Damaged records that are named one by one. */
const NAMED_MAX = 20;

/**
 * Reads a site's store from beginning to end, and changes nothing of it. A store that a manager holds is that manager's to
 * speak of; so is etcd's.
 */
export async function examineStore(config: Config, file: string): Promise<readonly StoreFinding[]> {
  const { store } = config;
  if (store.kind !== "level")
    return [well(`etcd ${store.endpoints.join(", ")}: its managers say how it is; ask with muster doctor --api URL`)];
  const holder = lockHolder(store.path);
  if (holder.kind === "held") return [well(`${store.path} is in use by process ${holder.pid}, which has read it`)];
  const missing = await missingParts(store.path);
  if (missing !== undefined) return [ill(missing.message, restoreRemedy(file))];
  if (!(await namesIn(store.path)).includes("db"))
    return [
      worry(`${store.path} holds no store`, "a manager makes an empty one at its start, or restore a backup first"),
    ];
  const copy = await mkdtemp(join(store.path, "examined-"));
  try {
    await mirror(join(store.path, "db"), join(copy, "db"));
    return await examine(store.path, join(copy, "db"), file);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** LevelDB writes each table once, and never again: a link does for it. All else is copied, for opening changes it. */
async function mirror(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    if (name === "LOCK") continue;
    if (/\.(ldb|sst)$/.test(name)) await link(join(from, name), join(to, name));
    else await copyFile(join(from, name), join(to, name));
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => []);
}

const metaSchema = z.looseObject({ schema: z.int(), term: z.int() });

async function examine(folder: string, database: string, file: string): Promise<readonly StoreFinding[]> {
  const level = new Level<string, string>(database, { createIfMissing: false });
  try {
    await level.open();
    const stored = await level.get("meta/site");
    const meta = metaSchema.safeParse(parsed(stored ?? "")).data;
    if (meta === undefined) return [ill(`${folder}: meta/site cannot be read`, restoreRemedy(file))];
    const newer = meta.schema > STORE_SCHEMA ? newerSchema(folder, meta.schema) : undefined;
    if (newer !== undefined) return [ill(newer.message, "start the newer version of Muster again")];
    const commits = Number((await level.get("meta/commit")) ?? "0");
    const older = wentBack(folder, { term: meta.term, commits }, new LevelWitness(folder).read(), 0);
    const findings = older === undefined ? [] : [ill(older.message, `muster restore --in-place --config ${file}`)];
    const { records, damaged } = await count(level);
    const named = damaged.slice(0, NAMED_MAX).map((message) => ill(message, dropRemedy(file)));
    if (damaged.length > NAMED_MAX) named.push(ill(`${damaged.length - NAMED_MAX} more`, dropRemedy(file)));
    if (findings.length + named.length > 0) return [...findings, ...named];
    return [well(`${folder}: ${records} sound records, term ${meta.term}, schema ${meta.schema}`)];
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    return [
      ill(`${folder} is damaged: ${inner instanceof Error ? inner.message : String(inner)}`, restoreRemedy(file)),
    ];
  } finally {
    await level.close();
  }
}

async function count(level: Level<string, string>): Promise<{ records: number; damaged: string[] }> {
  const damaged: string[] = [];
  let records = 0;
  for await (const [key, text] of level.iterator({ gte: "record/", lt: "record/\uffff" })) {
    records += 1;
    const fault = recordFault(key.slice("record/".length), text);
    if (fault !== undefined) damaged.push(`${key.slice("record/".length)}: ${fault}`);
  }
  return { records, damaged };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function restoreRemedy(file: string): string {
  return `muster restore BACKUP --config ${file}; without a backup: muster restore --salvage --config ${file}`;
}

function dropRemedy(file: string): string {
  return `muster restore BACKUP --config ${file}; without a backup: muster restore --in-place --drop-damaged --config ${file}`;
}

function well(message: string): StoreFinding {
  return { verdict: "ok", message, remedy: "" };
}

function worry(message: string, remedy: string): StoreFinding {
  return { verdict: "warn", message, remedy };
}

function ill(message: string, remedy: string): StoreFinding {
  return { verdict: "fail", message, remedy };
}
