// `npm test`: set-up, then all tests (or those that the arguments name), and a closing line with the counts.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";
import { runNode } from "./runtime.mjs";
import { closingLine } from "./tally.mjs";

prepare({ tests: true });
const folder = mkdtempSync(join(tmpdir(), "muster-test-"));
const file = join(folder, "tally.json");
const code = await runNode(["scripts/run-vitest.mjs", file, ...process.argv.slice(2)]);
const { line, exitCode } = closingLine(readTally(file), code);
rmSync(folder, { recursive: true });
process.stdout.write(`${line}\n`);
process.exitCode = exitCode;

function readTally(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return null;
  }
}
