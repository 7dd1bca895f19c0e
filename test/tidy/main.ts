// Prints what is untidy in this checkout; exit code 1 if anything is.
import { join } from "node:path";
import { findings } from "./rules.ts";
import { readTree } from "./tree.ts";

const files = readTree(join(import.meta.dirname, "..", ".."));
const found = findings(files);
for (const { path, line, message } of found) process.stdout.write(`${path}:${line}: ${message}\n`);
process.stdout.write(`${files.length} files looked at, ${found.length} findings\n`);
process.exitCode = found.length === 0 ? 0 : 1;
