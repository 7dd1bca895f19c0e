import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { identityOf } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { takeSupervisorLock } from "./supervisor-lock.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-lock-"));
  path = join(folder, "supervisor.json");
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("takeSupervisorLock", () => {
  it("admits one, names it to the next, and admits again when it let go", () => {
    const first = takeSupervisorLock(path);
    if (!first.ok) throw new Error(first.error);
    const second = takeSupervisorLock(path);
    expect(!second.ok && second.error).toMatch(new RegExp(`already running \\(process ${process.pid}\\)`));
    first.value();
    expect(takeSupervisorLock(path).ok).toBe(true);
    expect(readdirSync(folder)).toEqual(["supervisor.json"]);
  });

  it("takes over from one that died", async () => {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    writeFileSync(path, JSON.stringify(identityOf(child.pid ?? 0)));
    expect(takeSupervisorLock(path).ok).toBe(false);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    expect(takeSupervisorLock(path).ok).toBe(true);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ pid: process.pid });
  });

  it.each(["", "{", "null", JSON.stringify({ pid: process.pid, startTicks: 1 }), '{"pid":"1"}'])(
    "S1: takes over a file that holds %j",
    (content) => {
      writeFileSync(path, content);
      expect(takeSupervisorLock(path).ok).toBe(true);
    },
  );

  it("says where it cannot be written", () => {
    writeFileSync(join(folder, "file"), "");
    const taken = takeSupervisorLock(join(folder, "file", "supervisor.json"));
    expect(!taken.ok && taken.error).toMatch(/supervisor\.json cannot be written/);
  });
});
