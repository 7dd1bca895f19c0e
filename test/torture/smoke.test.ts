import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { finished } from "../system/federation-run.ts";

const TOOL = join(import.meta.dirname, "main.ts");
const run = (args: readonly string[]) =>
  finished(
    spawn(process.execPath, ["--conditions=muster-source", TOOL, ...args], { stdio: ["ignore", "pipe", "pipe"] }),
  );

it("drives a federation through faults to its end, and finds that everything held", async () => {
  const { code, stdout, stderr } = await run(["--seconds", "8", "--seed", "7", "--loopback", "60", "--users", "2"]);
  expect(stdout, stderr).toMatch(/^no violation: of [1-9]\d* accepted requests 0 lost/m);
  expect(stdout).toMatch(/faults: [1-9]\d* injected/);
  expect(code).toBe(0);
});

it.each([
  [["--minutes", "0"], /--minutes must be/],
  [["--seed", "x"], /--seed must be/],
  [["--minutes", "1", "--seconds", "5"], /not both/],
  [["--hours", "1"], /--hours/],
])("refuses %j with the option at fault and the usage, exit 2", async (args, message) => {
  const { code, stderr } = await run(args);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/usage: npm run torture/);
  expect(code).toBe(2);
});
