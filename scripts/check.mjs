// `npm run check`: set-up, then types, lint and format, and the rules of the source tree. All run; any failure fails it.
import { prepare } from "./prepare.mjs";
import { runNode } from "./runtime.mjs";

const STEPS = [
  ["types", ["node_modules/typescript/bin/tsc", "-p", "."]],
  ["lint and format", ["node_modules/@biomejs/biome/bin/biome", "check", "."]],
  ["import direction and tidiness", ["test/tidy/main.ts"]],
];

prepare();
const failed = [];
for (const [name, args] of STEPS) {
  process.stdout.write(`\n== ${name}\n`);
  if ((await runNode(args)) !== 0) failed.push(name);
}
process.stdout.write(failed.length === 0 ? "\ncheck: all is well\n" : `\ncheck: failed: ${failed.join("; ")}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
