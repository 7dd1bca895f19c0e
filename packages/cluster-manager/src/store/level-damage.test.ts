import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLevelStore } from "./level-store.ts";
import { readAll } from "./read-all.ts";
import type { Store } from "./store.ts";
import type { StoreFault } from "./store-fault.ts";

const RECORDS = 2_000;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-damage-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (more = {}) => openLevelStore({ path: folder, manager: "a", reserveBytes: 64 * 1024, ...more });

async function opened(more = {}): Promise<Store> {
  const store = await open(more);
  if (!store.ok) throw new Error(store.error.message);
  return store.value;
}

/** A store with records in its tables as well as in its log. */
async function filled(): Promise<void> {
  const store = await opened();
  for (let from = 0; from < RECORDS; from += 500)
    await store.commit(
      Array.from({ length: 500 }, (_, index) => ({ kind: "put", key: `n/${from + index}`, value: "x".repeat(200) })),
    );
  await store.close();
  // Opening puts what the log holds into a table.
  const again = await opened();
  for (let index = 0; index < 20; index += 1)
    await again.commit([{ kind: "put", key: `late/${index}`, value: "y".repeat(100) }]);
  await again.close();
}

async function files(pattern: RegExp): Promise<string[]> {
  const names = (await readdir(join(folder, "db"))).filter((name) => pattern.test(name));
  return names.sort().map((name) => join(folder, "db", name));
}

/** What comes of opening it and reading it to the end: nothing of it may be missing without a word. */
async function fate(): Promise<StoreFault["kind"] | "unreadable" | number> {
  const store = await open();
  if (!store.ok) {
    expect(store.error.message).toMatch(/muster restore/);
    return store.error.kind;
  }
  try {
    return (await readAll(store.value, "")).length;
  } catch (cause) {
    expect(String(cause)).toMatch(/is damaged: .*muster restore/);
    return "unreadable";
  } finally {
    await store.value.close();
  }
}

describe("a damaged level store", () => {
  it("is read whole where nothing is wrong", async () => {
    await filled();
    expect(await fate()).toBe(RECORDS + 20);
  });

  it("is refused where CURRENT is missing, rather than begun anew, empty", async () => {
    await filled();
    await rm(join(folder, "db", "CURRENT"));
    const before = await readdir(join(folder, "db"));
    expect(await fate()).toBe("damaged");
    expect(await readdir(join(folder, "db"))).toEqual(before);
  });

  it.each([
    ["CURRENT", /^CURRENT$/],
    ["MANIFEST", /^MANIFEST-/],
  ])("is refused where %s is empty", async (_name, pattern) => {
    await filled();
    for (const path of await files(pattern)) await truncate(path, 0);
    expect(await fate()).toBe("damaged");
  });

  it.each([0, 0.5, 0.9])("is refused, or unreadable with a word, where a table is cut to %f of it", async (share) => {
    await filled();
    for (const path of await files(/\.ldb$/)) await truncate(path, Math.floor((await stat(path)).size * share));
    expect(["damaged", "unreadable", "unusable", "went-back"]).toContain(await fate());
  });

  it("is refused where a table is missing", async () => {
    await filled();
    for (const path of await files(/\.ldb$/)) await rm(path);
    expect(await fate()).toBe("damaged");
  });

  it.each([0, 0.5, 0.95])("is refused as gone back where its log is cut to %f of it", async (share) => {
    await filled();
    for (const path of await files(/\.log$/)) await truncate(path, Math.floor((await stat(path)).size * share));
    expect(await fate()).toBe("went-back");
  });

  it("is refused as gone back where an older copy of the database was put in place, and used above the named term", async () => {
    await (await opened()).close();
    await cp(join(folder, "db"), join(folder, "copy"), { recursive: true });
    await filled();
    await rm(join(folder, "db"), { recursive: true });
    await cp(join(folder, "copy"), join(folder, "db"), { recursive: true });
    const refused = await open();
    expect(refused).toMatchObject({ ok: false, error: { kind: "went-back" } });
    const [, above = ""] = /restore --in-place --above (\d+)/.exec(refused.ok ? "" : refused.error.message) ?? [];
    const store = await opened({ termFloor: Number(above) });
    expect(store.term).toBe(Number(above) + 1);
    await store.close();
  });

  it("is not held against it that the note beside it is torn or missing", async () => {
    await filled();
    await writeFile(join(folder, "witness.json"), '{"term":');
    expect(await fate()).toBe(RECORDS + 20);
    await rm(join(folder, "witness.json"));
    expect(await fate()).toBe(RECORDS + 20);
    expect(JSON.parse(await readFile(join(folder, "witness.json"), "utf8"))).toMatchObject({ commits: 24 });
  });
});
