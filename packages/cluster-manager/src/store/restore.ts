/** Puts a backup, or what is found in place, where managers lead on from it without overwriting what hosts know better. */
import { appendFile, cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { hostNameSchema, isFinal } from "@muster/protocol";
import { Level } from "level";
import type { Config } from "../config.ts";
import { decodeRecord } from "../core/record-schema.ts";
import type { HostRecord, RecordChange, VmRecord } from "../core/records.ts";
import { RESTORE_KEY, type RestoreRecord } from "../core/restore-record.ts";
import { lockHolder } from "../leadership/store-lock.ts";
import { type BackupSummary, readBackup } from "./backup-file.ts";
import { writeBackup } from "./backup-format.ts";
import { recordFault } from "./record-check.ts";
import { freshLevel, openAbove, type Target, type TargetParts } from "./restore-target.ts";
import type { Store } from "./store.ts";

export type RestoreOptions = TargetParts & {
  readonly config: Config;
  /** Wall clock now, for what is written and for the names of what is kept. */
  readonly nowMs: number;
  /** Highest term that any host is known to have obeyed. */
  readonly above: number;
  /** Hosts that were let in after the backup. */
  readonly hosts: readonly string[];
  /** Where what is replaced in etcd, or left out, is kept. A level store keeps it in its own folder. */
  readonly keepFolder: string;
  /** One line for the admin. */
  readonly say: (line: string) => void;
};

export type RestoreReport = {
  readonly records: number;
  /** First term under which a manager leads again is above this one. */
  readonly term: number;
  /** What was there before, or what was left out: files and folders that the admin may remove. */
  readonly kept: readonly string[];
};

/** Refused: nothing was changed. */
export type RestoreFault = { readonly kind: "refused" | "unusable"; readonly message: string };

type Outcome = Promise<Result<RestoreReport, RestoreFault>>;

/** Records that go into one commit. */
const BATCH_MAX = 500;

/** Puts a backup in place. It is read to its end, and every record decoded, before anything is touched. */
export async function restoreBackup(options: RestoreOptions, path: string): Outcome {
  const { config } = options;
  const wrongHost = options.hosts.find((host) => !hostNameSchema.safeParse(host).success);
  if (wrongHost !== undefined) return refused(`"${wrongHost}" is no name of a host`);
  const checked = await readBackup(path, () => {});
  if (!checked.ok) return refused(checked.error);
  const { head } = checked.value;
  if (head.site !== config.site) return refused(`${path} is a backup of ${head.site}, not of ${config.site}`);
  options.say(`${path}: ${checked.value.records} records of ${head.site}, term ${head.term}, taken at ${head.takenAt}`);
  const target = await targetOf(options, Math.max(head.term, options.above));
  if (!target.ok) return err({ kind: "unusable", message: target.error });
  const { store, kept } = target.value;
  const mark = markOf(store, "backup", Date.parse(head.takenAt), options.nowMs);
  try {
    await replaceRecords(store, mark, options, (take) => readBackup(path, take));
  } catch (cause) {
    await target.value.abandon();
    return err({ kind: "unusable", message: textOf(cause) });
  }
  await target.value.finish();
  return ok({ records: checked.value.records, term: store.term, kept: kept === undefined ? [] : [kept] });
}

/** For a store whose folder was put back from a copy, or that went back some other way: its records are taken as a backup. */
export async function restoreInPlace(
  options: RestoreOptions,
  care: { readonly salvage: boolean; readonly dropDamaged: boolean },
): Outcome {
  const { config, nowMs } = options;
  const kept: string[] = [];
  if (care.salvage) {
    const salvaged = await salvage(options);
    if (!salvaged.ok) return salvaged;
    kept.push(salvaged.value);
  }
  const opened = await openAbove(config, options.above, options);
  if (!opened.ok) return err({ kind: "unusable", message: opened.error.message });
  const store = opened.value;
  try {
    const found = await inspect(store);
    if (found.damaged.length > 0 && !care.dropDamaged) {
      const keys = found.damaged.map(({ key, fault }) => `${key}: ${fault}`).join("\n");
      return refused(`${found.damaged.length} records are damaged; leave them out with --drop-damaged:\n${keys}`);
    }
    if (found.damaged.length > 0) {
      const file = join(placeOf(options), `damaged-${stampOf(nowMs)}.ndjson`);
      await writeFile(file, "", { mode: 0o600 });
      for (const { key, text, fault } of found.damaged) {
        await appendFile(file, `${JSON.stringify({ key, fault, text })}\n`);
        options.say(`left out: ${key}: ${fault}`);
      }
      kept.push(file);
    }
    const mark = markOf(store, "in-place", found.newestMs, nowMs);
    await commit(store, [put(RESTORE_KEY, { ...mark, state: "writing" })]);
    await inBatches(
      store,
      found.damaged.map(({ key }): RecordChange => ({ kind: "delete", key })),
    );
    await inBatches(
      store,
      found.vms.map((vm) => put(`vm/${vm.id}`, restoredVm(vm, mark, config))),
    );
    await inBatches(
      store,
      options.hosts.map((name) => put(`host/${name}`, newHost(name, nowMs))),
    );
    await commit(store, [put(RESTORE_KEY, mark)]);
    return ok({ records: found.records, term: store.term, kept });
  } catch (cause) {
    return err({ kind: "unusable", message: textOf(cause) });
  } finally {
    await store.close();
  }
}

async function targetOf(options: RestoreOptions, knownTerm: number): Promise<Result<Target, string>> {
  const { config, nowMs } = options;
  if (config.store.kind === "level") return freshLevel(config.store.path, knownTerm, stampOf(nowMs));
  const opened = await openAbove(config, knownTerm, options);
  if (!opened.ok) return err(opened.error.message);
  const store = opened.value;
  const kept = join(options.keepFolder, `muster-replaced-${config.site}-${stampOf(nowMs)}.backup`);
  try {
    await keepRecords(store, config, kept, nowMs);
  } catch (cause) {
    await store.close();
    return err(`what is stored now cannot be kept in ${kept}: ${textOf(cause)}`);
  }
  return ok({ store, kept, finish: () => store.close(), abandon: () => store.close() });
}

/** What is replaced in etcd, as a backup in the working folder. */
async function keepRecords(store: Store, { site }: Config, path: string, nowMs: number): Promise<void> {
  await writeFile(path, "", { mode: 0o600, flag: "wx" });
  const head = { site, term: store.term, manager: "restore", takenAt: new Date(nowMs).toISOString() };
  for await (const piece of writeBackup(head, store.snapshot())) await appendFile(path, piece);
}

/** In this order: the mark that nobody may lead, what is not in the backup out, the backup in, the mark that all is there. */
async function replaceRecords(
  store: Store,
  mark: RestoreRecord,
  options: RestoreOptions,
  read: (take: (key: string, value: unknown) => Promise<void>) => Promise<Result<BackupSummary, string>>,
): Promise<void> {
  await commit(store, [put(RESTORE_KEY, { ...mark, state: "writing" })]);
  let batch: RecordChange[] = [];
  const add = async (change: RecordChange): Promise<void> => {
    batch.push(change);
    if (batch.length < BATCH_MAX) return;
    await commit(store, batch);
    batch = [];
  };
  const old: string[] = [];
  for await (const [key] of store.snapshot()) if (key !== RESTORE_KEY) old.push(key);
  for (const key of old) await add({ kind: "delete", key });
  const written = await read(async (key, value) => {
    if (key !== RESTORE_KEY) await add(put(key, restoredValue(key, value, mark, options.config)));
  });
  if (!written.ok) throw new Error(written.error);
  for (const name of options.hosts) await add(put(`host/${name}`, newHost(name, options.nowMs)));
  if (batch.length > 0) await commit(store, batch);
  await commit(store, [put(RESTORE_KEY, mark)]);
}

function restoredValue(key: string, value: unknown, mark: RestoreRecord, config: Config): unknown {
  const stored = decodeRecord(key, value);
  return stored?.kind === "vm" ? restoredVm(stored.record, mark, config) : value;
}

/** Between the end of a lease by our count and the last moment at which the lender can still run its VM. */
const LEASE_MARGIN_MS = 60_000;

/** H5: no number given since the backup is given again. P1: a lease taken since the backup has run out before another place. */
function restoredVm(vm: VmRecord, mark: RestoreRecord, { siteKeyFile, timing }: Config): VmRecord {
  if (isFinal(vm.phase)) return vm;
  const attemptFloor = Math.max(mark.attemptFloor, vm.attemptFloor ?? 0);
  // A peering may have been made after the backup was taken; a site without a lasting key never had one.
  const mayBeAway = vm.origin.kind === "local" && vm.burst !== "never" && siteKeyFile !== undefined;
  if (!mayBeAway) return { ...vm, attemptFloor };
  return { ...vm, attemptFloor, notBeforeMs: mark.restoredAtMs + vm.leaseMs + timing.leaseGraceMs + LEASE_MARGIN_MS };
}

function newHost(name: string, nowMs: number): HostRecord {
  return { name, enrolledAtMs: nowMs, draining: true, fenced: false };
}

/** Attempts begin anew above the thousand that the term begins in: two restores never share one. */
const ATTEMPT_FLOOR_MAX = 990_000;

function markOf(store: Store, source: RestoreRecord["source"], takenAtMs: number, nowMs: number): RestoreRecord {
  return {
    state: "pending",
    source,
    takenAtMs,
    restoredAtMs: nowMs,
    attemptFloor: Math.min(store.term - 1, ATTEMPT_FLOOR_MAX),
  };
}

type Damaged = { readonly key: string; readonly text: string; readonly fault: string };

async function inspect(
  store: Store,
): Promise<{ records: number; vms: VmRecord[]; damaged: Damaged[]; newestMs: number }> {
  const vms: VmRecord[] = [];
  const damaged: Damaged[] = [];
  let records = 0;
  let newestMs = 0;
  for await (const [key, text] of store.snapshot()) {
    records += 1;
    const fault = recordFault(key, text);
    if (fault !== undefined) damaged.push({ key, text, fault });
    else {
      const stored = decodeRecord(key, JSON.parse(text));
      if (stored?.kind === "vm") {
        newestMs = Math.max(newestMs, stored.record.changedAtMs);
        if (!isFinal(stored.record.phase)) vms.push(stored.record);
      }
      if (stored?.kind === "request") newestMs = Math.max(newestMs, stored.record.acceptedAtMs);
    }
  }
  return { records: records - damaged.length, vms, damaged, newestMs };
}

/** On Node `level` is `classic-level`, whose static functions its types leave out. */
const LEVELDB = Level as unknown as { repair(location: string): Promise<void> };

/** LevelDB's own repair, on what is there, after a copy of all of it was kept. */
async function salvage({ config, nowMs, say }: RestoreOptions): Promise<Result<string, RestoreFault>> {
  if (config.store.kind !== "level") return refused("--salvage is for a level store; etcd repairs its own");
  const { path } = config.store;
  if (lockHolder(path).kind !== "free") return refused(`${path} is held by a manager; stop all managers`);
  const kept = join(path, `salvaged-${stampOf(nowMs)}`);
  try {
    await mkdir(dirname(kept), { recursive: true });
    await cp(join(path, "db"), kept, { recursive: true, errorOnExist: true, force: false });
    await LEVELDB.repair(join(path, "db"));
  } catch (cause) {
    return err({ kind: "unusable", message: `${path} cannot be salvaged: ${textOf(cause)}` });
  }
  say(`LevelDB has put together what it could; the damaged files are kept in ${kept}`);
  return ok(kept);
}

async function inBatches(store: Store, changes: readonly RecordChange[]): Promise<void> {
  for (let from = 0; from < changes.length; from += BATCH_MAX)
    await commit(store, changes.slice(from, from + BATCH_MAX));
}

async function commit(store: Store, changes: readonly RecordChange[]): Promise<void> {
  const outcome = await store.commit(changes);
  if (outcome.kind === "committed") return;
  const why = outcome.kind === "deposed" ? `another manager leads under term ${outcome.term}` : outcome.message;
  throw new Error(`the restore was interrupted: ${why}; run it again`);
}

function put(key: string, value: unknown): RecordChange {
  return { kind: "put", key, value };
}

function placeOf({ config, keepFolder }: RestoreOptions): string {
  return config.store.kind === "level" ? config.store.path : keepFolder;
}

function stampOf(nowMs: number): string {
  return new Date(nowMs).toISOString().replace(/[:.]/g, "-");
}

function refused(message: string): { readonly ok: false; readonly error: RestoreFault } {
  return err({ kind: "refused", message });
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
