import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Level } from "level";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLevelStore } from "./level-store.ts";
import { readAll } from "./read-all.ts";
import { storeContract } from "./store.contract.ts";
import type { Store } from "./store.ts";

const reserveBytes = 64 * 1024;

storeContract("level", async () => {
  const folder = await mkdtemp(join(tmpdir(), "muster-store-"));
  const open = () => openLevelStore({ path: folder, manager: "a", reserveBytes });
  const edit = async (key: string, text: string): Promise<void> => {
    const database = new Level(join(folder, "db"));
    await database.put(key, text);
    await database.close();
  };
  return {
    open,
    takeOver: async (store) => {
      await store.close();
      return open();
    },
    corrupt: (key, text) => edit(`record/${key}`, text),
    setSchema: (schema) => edit("meta/site", JSON.stringify({ schema, term: 1, manager: "a" })),
    dispose: () => rm(folder, { recursive: true }),
  };
});

describe("the level store", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "muster-store-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const opened = async (): Promise<Store> => {
    const result = await openLevelStore({ path: folder, manager: "a", reserveBytes });
    if (!result.ok) throw new Error(result.error.message);
    return result.value;
  };

  it("L1: admits one manager at a time and says who holds it up", async () => {
    const first = await opened();
    const second = await openLevelStore({ path: folder, manager: "b" });
    expect(second).toMatchObject({ ok: false, error: { kind: "locked" } });
    await first.close();
    await (await opened()).close();
  });

  it("names the remedy where its folder cannot be made", async () => {
    await writeFile(join(folder, "file"), "");
    const refused = await openLevelStore({ path: join(folder, "file", "store"), manager: "a" });
    expect(refused).toMatchObject({ ok: false, error: { kind: "unusable", message: /check owner and mode/ } });
  });

  it("L3: loses no acknowledged write and tears no batch when its process is killed", { timeout: 60_000 }, async () => {
    const acknowledged = new Map<string, number>();
    for (let round = 0; round < 6; round += 1) {
      for (const [writer, count] of await writeUntilKilled(folder, 400)) acknowledged.set(writer, count);
      const store = await opened();
      const left = new Map((await readAll(store, "left/")).map(([key, value]) => [key.slice(5), value]));
      const right = new Map((await readAll(store, "right/")).map(([key, value]) => [key.slice(6), value]));
      expect(left).toEqual(right);
      for (const [writer, count] of acknowledged) expect(left.get(writer)).toBeGreaterThanOrEqual(count);
      await store.close();
    }
    expect([...acknowledged.values()].reduce((total, count) => total + count, 0)).toBeGreaterThan(0);
  });

  it("answers failed on a full disk, keeps all it acknowledged, and goes on once space is freed", async () => {
    const lines = await onTinyDisk(folder);
    expect(lines.at(-1)).toMatchObject({ kind: "done", again: "committed", lost: 0, extra: 0 });
    const full = lines.find((line) => line.kind === "full");
    expect(full).toMatchObject({ outcome: "failed", message: /space/ });
    expect(full?.acknowledged).toBeGreaterThan(0);
  });
});

type Line = { readonly kind: string } & Record<string, unknown>;

/** Starts writers in a child, kills it with SIGKILL after `lifeMs` of writing, and returns what it was told is stored. */
async function writeUntilKilled(path: string, lifeMs: number): Promise<Map<string, number>> {
  const child = runFixture([process.execPath], "crash-writer.fixture.ts", [path]);
  const acknowledged = new Map<string, number>();
  let writing = false;
  for await (const line of linesOf(child)) {
    if (!writing) setTimeout(() => child.kill("SIGKILL"), lifeMs);
    writing = true;
    acknowledged.set(String(line.writer), Number(line.count));
  }
  return acknowledged;
}

/** Runs the fixture on a disk of 32 MiB that only it sees, which goes with it. */
async function onTinyDisk(folder: string): Promise<Line[]> {
  const disk = join(folder, "disk");
  await mkdir(disk);
  const script = 'mount -t tmpfs -o size=32m tmpfs "$1" && shift && exec "$@"';
  const own = process.getuid?.() === 0 ? ["unshare", "-m"] : ["unshare", "-rm"];
  const child = runFixture([...own, "sh", "-c", script, "sh", disk, process.execPath], "full-disk.fixture.ts", [disk]);
  const lines: Line[] = [];
  for await (const line of linesOf(child)) lines.push(line);
  return lines;
}

function runFixture(command: readonly string[], name: string, args: readonly string[]): ChildProcess {
  const [program = "", ...rest] = command;
  const fixture = join(import.meta.dirname, name);
  return spawn(program, [...rest, "--conditions=muster-source", "--no-warnings", fixture, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function* linesOf(child: ChildProcess): AsyncIterable<Line> {
  if (child.stdout === null) return;
  for await (const line of createInterface({ input: child.stdout })) {
    // The last line of a killed child may be cut short.
    if (line.endsWith("}")) yield JSON.parse(line);
  }
}
