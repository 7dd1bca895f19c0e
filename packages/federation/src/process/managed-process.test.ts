import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { identityOf, seededRng, systemClock } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManagedProcess, type ProcessDeath, tailOf } from "./managed-process.ts";
import { ProcessRecord } from "./process-record.ts";

let folder: string;
let part: ManagedProcess | undefined;
let deaths: ProcessDeath[];

function shell(script: string, logPath = join(folder, "part.log"), retiresWith?: number): ManagedProcess {
  part = new ManagedProcess({
    name: "part",
    command: "sh",
    args: ["-c", script],
    logPath,
    clock: systemClock,
    rng: seededRng(1),
    record: new ProcessRecord(join(folder, "processes.json")),
    ...(retiresWith === undefined ? {} : { retiresWith }),
    onDeath: (death) => deaths.push(death),
  });
  return part;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 15_000;
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`not in time: ${what}`);
    await pause(10);
  }
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-part-"));
  deaths = [];
});

afterEach(async () => {
  await part?.stop(100);
  part = undefined;
  rmSync(folder, { recursive: true, force: true });
});

describe("ManagedProcess", () => {
  it("leaves a part down, and calls it retired, that ends with the exit code meant for that", async () => {
    shell("exit 5", undefined, 5).start();
    await until("it ended", () => deaths.length > 0);
    expect(deaths).toMatchObject([{ how: "exit code 5", retired: true }]);
    expect(deaths[0]?.restartInMs).toBeUndefined();
  });

  it("starts a part again that died, under a new number, and tells its last words", async () => {
    const started = shell("echo last words; sleep 60");
    started.start();
    const first = started.pid;
    await until("it speaks", () => tailOf(join(folder, "part.log")) === "last words");
    started.crash(10);
    await until("another one", () => started.pid !== undefined && started.pid !== first);
    expect(deaths).toEqual([{ name: "part", how: "signal SIGKILL", restartInMs: 10, logTail: "last words" }]);
  });

  it("S2: gives a part up that keeps dying", async () => {
    shell("exit 1").start();
    await until("it gives up", () => deaths.some(({ restartInMs }) => restartInMs === undefined));
    expect(deaths).toHaveLength(6);
    expect(part?.pid).toBeUndefined();
  });

  it("does not start a part again whose configuration is wrong", async () => {
    shell("echo unknown key; exit 2").start();
    await until("it gives up", () => deaths.length > 0);
    expect(deaths).toEqual([{ name: "part", how: "exit code 2", logTail: "unknown key" }]);
  });

  it("ends a part that does not listen to SIGTERM, after its patience", async () => {
    const deaf = shell("trap '' TERM; echo deaf; while true; do sleep 0.1; done");
    deaf.start();
    await until("it is deaf", () => tailOf(join(folder, "part.log")) === "deaf");
    const { pid = 0 } = deaf;
    await deaf.stop(200);
    expect(identityOf(pid)).toBeUndefined();
    expect(deaths).toEqual([]);
    expect(JSON.parse(readFileSync(join(folder, "processes.json"), "utf8"))).toEqual([]);
  });

  it("starts nothing any more once it was stopped, also where a restart was due", async () => {
    const stopped = shell("exit 1");
    stopped.start();
    await until("a restart is due", () => deaths.length > 0);
    await stopped.stop();
    stopped.start();
    expect(stopped.pid).toBeUndefined();
  });

  it("tells a log that cannot be opened and a program that is not there as deaths, and throws nothing", async () => {
    writeFileSync(join(folder, "file"), "");
    shell("sleep 60", join(folder, "file", "part.log")).start();
    expect(deaths[0]?.how).toMatch(/ENOTDIR|EEXIST/);
    await part?.stop();
    deaths = [];
    const missing = { name: "m", command: join(folder, "none"), args: [], logPath: join(folder, "m.log") };
    part = new ManagedProcess({
      ...missing,
      clock: systemClock,
      rng: seededRng(1),
      record: new ProcessRecord(join(folder, "processes.json")),
      onDeath: (death) => deaths.push(death),
    });
    part.start();
    await until("its death", () => deaths.length > 0);
    expect(deaths[0]?.how).toMatch(/ENOENT/);
  });

  it("S2: sets a long log aside at the next start", async () => {
    const path = join(folder, "part.log");
    writeFileSync(path, Buffer.alloc(33 * 1024 * 1024, 120));
    shell("echo new", path).start();
    await until("a new log", () => existsSync(`${path}.1`) && tailOf(path) === "new");
  });
});
