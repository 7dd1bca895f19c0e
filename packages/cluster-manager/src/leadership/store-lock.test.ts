import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { identityOf, systemClock } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLevelStore } from "../store/level-store.ts";
import { fenceLeader } from "./fence.ts";
import { type LeaderNote, readLeaderNote, writeLeaderNote } from "./leader-note.ts";
import { holderIn, lockHolder } from "./store-lock.ts";

let path: string;
let child: ChildProcess | undefined;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "muster-lock-"));
});
afterEach(async () => {
  child?.kill("SIGKILL");
  child = undefined;
  await rm(path, { recursive: true });
});

const HOLD = `
  const { openLevelStore } = await import(process.argv[1]);
  const opened = await openLevelStore({ path: process.argv[2], manager: "held" });
  process.stdout.write(opened.ok ? "open" : "failed");
  setInterval(() => {}, 1000);
`;

/** Another process that holds the store. */
async function holdElsewhere(): Promise<LeaderNote> {
  const store = join(import.meta.dirname, "..", "store", "level-store.ts");
  const args = ["--conditions=muster-source", "--input-type=module", "-e", HOLD, store, path];
  child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  if (child.stdout !== null) await once(child.stdout, "data");
  const identity = identityOf(child.pid ?? 0);
  if (identity === undefined) throw new Error("the holder is gone");
  return { ...identity, manager: "held", term: 1, url: "http://127.0.0.1:1" };
}

describe("who holds the store", () => {
  it("is nobody before it is opened, the process that has it open, and nobody after", async () => {
    expect(lockHolder(path)).toEqual({ kind: "free" });
    const opened = await openLevelStore({ path, manager: "a", reserveBytes: 0 });
    expect(lockHolder(path)).toEqual({ kind: "held", pid: process.pid });
    if (opened.ok) await opened.value.close();
    expect(lockHolder(path)).toEqual({ kind: "free" });
  });

  it("is unknown where the kernel shows no process of ours", () => {
    const list = "1: POSIX  ADVISORY  WRITE 0 fe:00:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 7 fe:00:43 0 EOF\n";
    expect(holderIn(list, { dev: 0xfe00n, ino: 42n })).toEqual({ kind: "unknown" });
    expect(holderIn(list, { dev: 0xfe00n, ino: 43n })).toEqual({ kind: "free" });
  });
});

describe("ending a hung leader", () => {
  it("ends the process that hangs with the store open, and the store can be taken under the next term", async () => {
    const note = await holdElsewhere();
    child?.kill("SIGSTOP");
    expect(await fenceLeader(note, path, systemClock)).toEqual({ ok: true, value: undefined });
    const opened = await openLevelStore({ path, manager: "a", reserveBytes: 0 });
    expect(opened).toMatchObject({ ok: true, value: { term: 2 } });
    if (opened.ok) await opened.value.close();
  });

  it("harms no process that the note does not name exactly: another number, another start", async () => {
    const note = await holdElsewhere();
    expect((await fenceLeader({ ...note, pid: process.pid }, path, systemClock)).ok).toBe(false);
    expect((await fenceLeader({ ...note, startTicks: note.startTicks + 1 }, path, systemClock)).ok).toBe(false);
    expect(identityOf(note.pid)).toMatchObject({ startTicks: note.startTicks });
  });

  it("harms nobody who does not hold the store, whatever the note says", async () => {
    const note = await holdElsewhere();
    const other = await mkdtemp(join(tmpdir(), "muster-lock-"));
    expect(await fenceLeader(note, other, systemClock)).toEqual({ ok: true, value: undefined });
    expect(identityOf(note.pid)).toMatchObject({ startTicks: note.startTicks });
    await rm(other, { recursive: true });
  });
});

describe("the leader's note", () => {
  it("reads as it was written, and as nothing where it cannot be read", async () => {
    expect(readLeaderNote(path)).toBeUndefined();
    const note = { manager: "a", pid: 1, startTicks: 7, term: 3, url: "http://127.0.0.1:8080" };
    writeLeaderNote(path, note);
    expect(readLeaderNote(path)).toEqual(note);
    writeLeaderNote(path, { ...note, url: "nowhere" });
    expect(readLeaderNote(path)).toBeUndefined();
  });
});
