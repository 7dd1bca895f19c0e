import { spawn } from "node:child_process";
import { join } from "node:path";
import { seededRng } from "@muster/base";
import { expect, it } from "vitest";
import { finished } from "../system/federation-run.ts";
import { readOptions } from "./options.ts";

const TOOL = join(import.meta.dirname, "main.ts");
const run = (args: readonly string[]) =>
  finished(
    spawn(process.execPath, ["--conditions=muster-source", TOOL, ...args], { stdio: ["ignore", "pipe", "pipe"] }),
  );

it("drives a federation through faults to its end, and finds that everything held", {
  timeout: 180_000,
}, async () => {
  const { code, stdout, stderr } = await run(["--seconds", "6", "--seed", "7", "--loopback", "60", "--users", "2"]);
  expect(stdout, stderr).toMatch(/^no violation: of [1-9]\d* accepted requests 0 lost/m);
  expect(stdout).toMatch(/faults: [1-9]\d* injected/);
  expect(code).toBe(0);
});

it("refuses an option out of range with the usage, and exit 2", async () => {
  const { code, stderr } = await run(["--minutes", "0"]);
  expect(stderr).toMatch(/--minutes must be 0.05 to 1440\nusage: npm run torture/);
  expect(code).toBe(2);
});

it.each([
  [["--seed", "x"], /--seed must be/],
  [["--users", "1.5"], /--users must be a whole number/],
  [["--minutes", "1", "--seconds", "5"], /not both/],
  [["--hours", "1"], /--hours/],
  [["--store", "sqlite"], /--store must be level or etcd/],
])("refuses %j, naming the option", (args, message) => {
  expect(readOptions(args, seededRng(1))).toMatch(message);
});

it("takes ten minutes and a fresh seed where nothing is said", () => {
  expect(readOptions([], seededRng(1))).toMatchObject({
    durationMs: 600_000,
    store: "level",
    seed: seededRng(1).int(2 ** 31),
  });
});
