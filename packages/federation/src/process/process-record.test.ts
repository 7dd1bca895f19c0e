import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { identityOf, systemClock } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ProcessRecord } from "./process-record.ts";

let folder: string;
let path: string;
const children: ChildProcess[] = [];

function sleeper(script = "sleep 60"): number {
  const child = spawn("sh", ["-c", `exec ${script}`], { stdio: "ignore" });
  children.push(child);
  return child.pid ?? 0;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-record-"));
  path = join(folder, "processes.json");
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

describe("ProcessRecord", () => {
  it("ends what an earlier supervisor left, by exact identity, and names it", async () => {
    const left = sleeper();
    const removed = sleeper();
    const earlier = new ProcessRecord(path);
    earlier.add("a manager", left);
    earlier.add("gone by itself", removed);
    earlier.remove("gone by itself");
    expect(await new ProcessRecord(path).endLeftovers(systemClock)).toEqual(["a manager"]);
    expect(identityOf(left)).toBeUndefined();
    expect(identityOf(removed)).toBeDefined();
    expect(existsSync(path)).toBe(false);
  });

  it("never signals a process that only has the number of an earlier one", async () => {
    const pid = sleeper();
    writeFileSync(path, JSON.stringify([{ name: "x", pid, startTicks: 1 }]));
    expect(await new ProcessRecord(path).endLeftovers(systemClock)).toEqual([]);
    expect(identityOf(pid)).toBeDefined();
  });

  it.each(["", "{", "[]", '[{"pid":"1"}]', '[{"name":"x","pid":-1,"startTicks":1}]', "\u0000\u0000"])(
    "S1: takes a record of %j for none",
    async (content) => {
      writeFileSync(path, content);
      expect(await new ProcessRecord(path).endLeftovers(systemClock)).toEqual([]);
    },
  );

  it("goes on where nothing can be written", () => {
    writeFileSync(join(folder, "file"), "");
    const record = new ProcessRecord(join(folder, "file", "processes.json"));
    expect(() => record.add("x", sleeper())).not.toThrow();
    expect(() => record.remove("x")).not.toThrow();
  });
});
