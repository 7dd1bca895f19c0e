// `npm run bench`: set-up, then every program in bench/ in turn, or those named (`npm run bench -- libvirt`).
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";
import { root, runNode, say } from "./runtime.mjs";

/** A benchmark that takes longer hangs. */
const LIMIT_MS = 600_000;

const folder = join(root, "bench");
const all = (existsSync(folder) ? readdirSync(folder) : [])
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => file.slice(0, -3))
  .sort();
const named = process.argv.slice(2).map((name) => name.replace(/^bench\//, "").replace(/\.ts$/, ""));
const unknown = named.filter((name) => !all.includes(name));
if (unknown.length > 0) {
  say(`No such benchmark: ${unknown.join(", ")}. There are: ${all.join(", ") || "none"}.`);
  process.exit(2);
}

prepare();
const failed = [];
for (const name of named.length > 0 ? named : all) {
  process.stdout.write(`\n== ${name}\n`);
  const code = await runNode(["--conditions=muster-source", join("bench", `${name}.ts`)], { timeoutMs: LIMIT_MS });
  if (code === 124) say(`${name} was stopped after ${LIMIT_MS / 60_000} minutes`);
  if (code !== 0) failed.push(name);
  if (code > 128) break;
}
if (failed.length > 0) say(`\nFailed: ${failed.join(", ")}`);
process.exitCode = failed.length > 0 ? 1 : 0;
