import { existsSync, lstatSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { ShortPath } from "./short-path.ts";

const target = mkdtempSync(join(tmpdir(), "muster-short-"));
const short = new ShortPath(target);
afterEach(() => {
  rmSync(short.path, { force: true });
  rmSync(target, { recursive: true, force: true });
});

it("a short path leads to its folder, twice made is once, and is gone when removed", () => {
  short.make();
  short.make();
  expect(short.path.length).toBeLessThan(17);
  expect(lstatSync(short.path).isSymbolicLink()).toBe(true);
  short.remove();
  short.remove();
  expect(existsSync(short.path)).toBe(false);
});

it("a short path whose name leads elsewhere is neither used nor removed", () => {
  symlinkSync("/nowhere", short.path);
  expect(() => short.make()).toThrow(/EEXIST/);
  short.remove();
  expect(lstatSync(short.path).isSymbolicLink()).toBe(true);
});
