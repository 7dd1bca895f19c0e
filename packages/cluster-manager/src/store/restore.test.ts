import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { Level } from "level";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Config, configSchema } from "../config.ts";
import type { VmRecord } from "../core/records.ts";
import { RESTORE_KEY } from "../core/restore-record.ts";
import { writeBackup } from "./backup-format.ts";
import { EtcdCluster } from "./etcd-cluster.fixture.ts";
import { readAll } from "./read-all.ts";
import { type RestoreOptions, restoreBackup, restoreInPlace } from "./restore.ts";
import { openAbove } from "./restore-target.ts";
import type { Store } from "./store.ts";
import { examineStore } from "./store-examination.ts";

const NOW_MS = Date.parse("2027-01-02T03:04:05Z");
const ID = "0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b";
const parts = { clock: systemClock, rng: systemRng };
let folder: string;
let cluster: EtcdCluster;
let prefixes = 0;

beforeAll(async () => {
  cluster = await EtcdCluster.start({ addresses: ["127.42.0.1"] });
});
afterAll(() => cluster.stop());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-restore-"));
  prefixes += 1;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

function config(kind: "level" | "etcd", more: object = {}): Config {
  const store =
    kind === "level"
      ? { kind, path: join(folder, "store") }
      : { kind, endpoints: cluster.endpoints, prefix: `restore/${prefixes}/` };
  return configSchema.parse({
    site: "alpha.example",
    xmpp: { secretFile: "none" },
    api: { tokensFile: "none" },
    store,
    ...more,
  });
}

const optionsOf = (site: Config, more: Partial<RestoreOptions> = {}): RestoreOptions => ({
  ...parts,
  config: site,
  nowMs: NOW_MS,
  above: 0,
  hosts: [],
  keepFolder: folder,
  say: () => {},
  ...more,
});

function vm(part: Partial<VmRecord> = {}): VmRecord {
  return {
    id: ID,
    name: "web",
    request: "r-1",
    project: "default",
    user: "ann",
    spec: { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5, gpus: 0, labels: {} },
    priority: 0,
    burst: "never",
    leaseMs: 60_000,
    origin: { kind: "local" },
    phase: "running",
    wanted: "running",
    place: { kind: "host", host: "h1", startedOn: "confirmed" },
    attempt: 3,
    queueOrder: 1,
    createdAtMs: 1_000,
    changedAtMs: 2_000,
    ...part,
  };
}

const HOST = { name: "h1", enrolledAtMs: 1, draining: false, fenced: false };

async function opened(site: Config): Promise<Store> {
  const store = await openAbove(site, 0, parts);
  if (!store.ok) throw new Error(store.error.message);
  return store.value;
}

/** Fills the site's store, and backs it up into a file. */
async function backedUp(site: Config, records: Readonly<Record<string, unknown>>): Promise<string> {
  const store = await opened(site);
  await store.commit(Object.entries(records).map(([key, value]) => ({ kind: "put", key, value })));
  const path = join(folder, "alpha.backup");
  const head = { site: site.site, term: store.term, manager: "a", takenAt: "2027-01-01T00:00:00.000Z" };
  let text = "";
  for await (const piece of writeBackup(head, store.snapshot())) text += piece;
  await writeFile(path, text);
  await store.close();
  return path;
}

async function records(site: Config): Promise<ReadonlyMap<string, unknown>> {
  const store = await opened(site);
  const all = new Map(await readAll(store, ""));
  await store.close();
  return all;
}

describe.each(["level", "etcd"] as const)("restore into %s", (kind) => {
  it("puts back what the backup holds and nothing else, above every term known, and keeps what was there", async () => {
    const site = config(kind);
    const path = await backedUp(site, { "host/h1": HOST, [`vm/${ID}`]: vm(), "watch/ann": { of: "all" } });
    const later = await opened(site);
    const before = later.term;
    await later.commit([
      { kind: "put", key: "host/h2", value: { ...HOST, name: "h2" } },
      { kind: "delete", key: "watch/ann" },
    ]);
    await later.close();
    const done = await restoreBackup(optionsOf(site, { hosts: ["h9"] }), path);
    if (!done.ok) throw new Error(done.error.message);
    expect(done.value.term).toBeGreaterThan(before + 500);
    const found = await records(site);
    expect([...found.keys()].sort()).toEqual(["host/h1", "host/h9", RESTORE_KEY, `vm/${ID}`, "watch/ann"]);
    expect(found.get("watch/ann")).toEqual({ of: "all" });
    expect(found.get("host/h9")).toMatchObject({ name: "h9", draining: true });
    expect(found.get(RESTORE_KEY)).toMatchObject({ state: "pending", source: "backup", restoredAtMs: NOW_MS });
    expect(found.get(`vm/${ID}`)).toEqual({ ...vm(), attemptFloor: done.value.term - 1 });
    const [kept = ""] = done.value.kept;
    expect(kept).toMatch(/replaced/);
  });

  it("begins above a term that a host is known to have obeyed, and twice never in the same thousand", async () => {
    const site = config(kind);
    const path = await backedUp(site, { "host/h1": HOST });
    const floors: number[] = [];
    for (const above of [0, 0, 54_321]) {
      const done = await restoreBackup(optionsOf(site, { above, nowMs: NOW_MS + floors.length }), path);
      if (!done.ok) throw new Error(done.error.message);
      floors.push(Math.floor(done.value.term / 1_000));
    }
    expect(new Set(floors).size).toBe(3);
    expect(floors.at(-1)).toBeGreaterThan(54);
  });

  it.each<[string, (text: string) => string, RegExp]>([
    ["cut off", (text) => text.slice(0, text.lastIndexOf('{"end"')), /was cut off/],
    ["changed in a record", (text) => text.replace('"web"', '"wxb"'), /digest/],
    ["short of a record", (text) => text.replace(/\["host[^\n]*\n/, ""), /ends after 1 records/],
    ["with a record that is none", (text) => text.replace('"attempt":3', '"attempt":"x"'), /vm\/.* damaged: attempt/],
    ["of another site", (text) => text.replace("alpha.example", "other.example"), /digest|of other\.example/],
    ["of a newer schema", (text) => text.replace('"schema":1', '"schema":99'), /schema 99.*newer version/],
    ["of something else", () => "hello\n", /is no JSON/],
    ["that is two", (text) => `${text}${text}`, /two backups/],
  ])("refuses a backup %s, and touches nothing", async (_what, change, message) => {
    const site = config(kind);
    const path = await backedUp(site, { "host/h1": HOST, [`vm/${ID}`]: vm() });
    await writeFile(path, change(await readFile(path, "utf8")));
    const refused = await restoreBackup(optionsOf(site), path);
    expect(refused).toMatchObject({ ok: false, error: { kind: "refused", message: expect.stringMatching(message) } });
    expect([...(await records(site)).keys()]).toEqual(["host/h1", `vm/${ID}`]);
  });

  it("refuses while a manager leads", async () => {
    const site = config(kind);
    const path = await backedUp(site, { "host/h1": HOST });
    const leader = await opened(site);
    expect(await restoreBackup(optionsOf(site), path)).toMatchObject({ ok: false, error: { kind: "unusable" } });
    expect(await restoreInPlace(optionsOf(site), CAUTIOUS)).toMatchObject({ ok: false });
    expect(await leader.commit([{ kind: "put", key: "host/h2", value: HOST }])).toEqual({ kind: "committed" });
    await leader.close();
  });

  it("holds back a VM that may be at a peer under a lease taken since, until that has run out", async () => {
    const peers = [{ domain: "beta.example", publicKey: KEY }];
    const site = config(kind, { peers, siteKeyFile: "none" });
    const path = await backedUp(site, {
      [`vm/${ID}`]: vm({ burst: "allow", phase: "queued", place: { kind: "none" } }),
    });
    const done = await restoreBackup(optionsOf(site), path);
    expect(done.ok).toBe(true);
    const { notBeforeMs = 0 } = (await records(site)).get(`vm/${ID}`) as VmRecord;
    expect(notBeforeMs).toBeGreaterThan(NOW_MS + 60_000);
  });

  it("in place: takes what is there for a backup as of its newest record, and names what it leaves out", async () => {
    const site = config(kind);
    await backedUp(site, { "host/h1": HOST, [`vm/${ID}`]: vm(), "vm/broken": { id: "broken" } });
    const refused = await restoreInPlace(optionsOf(site), CAUTIOUS);
    expect(refused).toMatchObject({
      ok: false,
      error: { message: expect.stringMatching(/vm\/broken: .*--drop|drop-damaged/s) },
    });
    expect((await records(site)).has("vm/broken")).toBe(true);
    const said: string[] = [];
    const done = await restoreInPlace(optionsOf(site, { above: 17, say: (line) => said.push(line) }), {
      salvage: false,
      dropDamaged: true,
    });
    if (!done.ok) throw new Error(done.error.message);
    expect(said.join("\n")).toMatch(/left out: vm\/broken/);
    const [file = ""] = done.value.kept;
    expect(await readFile(file, "utf8")).toMatch(/"key":"vm\/broken"/);
    const found = await records(site);
    expect([...found.keys()].sort()).toEqual(["host/h1", RESTORE_KEY, `vm/${ID}`]);
    expect(found.get(RESTORE_KEY)).toMatchObject({ state: "pending", source: "in-place", takenAtMs: 2_000 });
  });
});

const CAUTIOUS = { salvage: false, dropDamaged: false };

describe("restore of a level store that cannot be opened", () => {
  it("puts a backup in the place of a damaged database, and keeps the damaged one", async () => {
    const site = config("level");
    const path = await backedUp(site, { "host/h1": HOST });
    await truncate(join(folder, "store", "db", "CURRENT"), 0);
    expect((await restoreBackup(optionsOf(site), path)).ok).toBe(true);
    expect((await records(site)).get("host/h1")).toEqual(HOST);
    expect(await readdir(join(folder, "store"))).toContain("replaced-2027-01-02T03-04-05-000Z");
  });

  it("salvages what LevelDB can put together, and keeps a copy of what there was", async () => {
    const site = config("level");
    await backedUp(site, { "host/h1": HOST, [`vm/${ID}`]: vm() });
    await rm(join(folder, "store", "db", "CURRENT"));
    const done = await restoreInPlace(optionsOf(site), { salvage: true, dropDamaged: false });
    expect(done).toMatchObject({ ok: true, value: { records: 2, kept: [expect.stringMatching(/salvaged-/)] } });
    expect((await records(site)).get("host/h1")).toEqual(HOST);
  });

  it("lets nobody lead over records that are half in place", async () => {
    const site = config("level");
    await backedUp(site, {
      [RESTORE_KEY]: { state: "writing", source: "backup", takenAtMs: 1, restoredAtMs: 2, attemptFloor: 0 },
    });
    const findings = await examineStore(site, "cluster.yaml");
    expect(findings).toMatchObject([{ verdict: "fail", message: expect.stringMatching(/a restore was interrupted/) }]);
  });
});

describe("the examination of a level store at rest", () => {
  const examine = async (site: Config) => examineStore(site, "/etc/muster/cluster.yaml");

  it("finds nothing wrong with a sound one, and changes nothing of it", async () => {
    const site = config("level");
    await backedUp(site, { "host/h1": HOST });
    const before = (await readdir(join(folder, "store", "db"))).sort();
    expect(await examine(site)).toMatchObject([{ verdict: "ok", message: expect.stringMatching(/1 sound records/) }]);
    expect((await readdir(join(folder, "store", "db"))).sort()).toEqual(before);
    expect((await readdir(join(folder, "store"))).filter((name) => name.startsWith("examined"))).toEqual([]);
  });

  it.each<[string, (database: string) => Promise<unknown>, RegExp, RegExp]>([
    [
      "a record that is no JSON",
      (path) => edit(path, "record/vm/b", "{ torn"),
      /vm\/b: it is no JSON/,
      /--drop-damaged/,
    ],
    ["a record that lacks a field", (path) => edit(path, "record/vm/b", "{}"), /vm\/b.*damaged: id/, /--drop-damaged/],
    ["a newer schema", (path) => edit(path, "meta/site", '{"schema":99,"term":4000}'), /schema 99/, /newer version/],
    ["no term", (path) => edit(path, "meta/site", "x"), /meta\/site cannot be read/, /muster restore BACKUP/],
    ["a cut MANIFEST", (path) => cut(path, /^MANIFEST/), /is damaged/, /muster restore BACKUP/],
    ["a cut table", (path) => cut(path, /\.ldb$/), /is damaged/, /--salvage/],
    ["no CURRENT", (path) => rm(join(path, "CURRENT")), /no CURRENT/, /--salvage/],
    ["a cut log", (path) => cut(path, /\.log$/), /had been at term/, /--in-place/],
  ])("names %s, and the command that helps", async (_what, damage, message, remedy) => {
    const site = config("level");
    await backedUp(site, { "host/h1": HOST });
    await (await opened(site)).close();
    await damage(join(folder, "store", "db"));
    const [finding] = await examine(site);
    expect(finding).toMatchObject({ verdict: "fail", message: expect.stringMatching(message) });
    expect(finding?.remedy).toMatch(remedy);
  });

  it("leaves a store in use to the manager that holds it", async () => {
    const site = config("level");
    const store = await opened(site);
    expect(await examine(site)).toMatchObject([
      { verdict: "ok", message: expect.stringMatching(/in use by process \d+/) },
    ]);
    await store.close();
  });
});

async function edit(database: string, key: string, text: string): Promise<void> {
  const level = new Level<string, string>(database);
  await level.put(key, text);
  await level.close();
}

async function cut(database: string, pattern: RegExp): Promise<void> {
  const names = (await readdir(database)).filter((name) => pattern.test(name));
  expect(names).not.toEqual([]);
  for (const name of names) await truncate(join(database, name), 3);
}
