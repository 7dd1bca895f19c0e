// `npm start`: set-up, then `muster up` with the arguments that were passed on.
import { prepare } from "./prepare.mjs";
import { runNode } from "./runtime.mjs";

prepare();
process.exitCode = await runNode([
  "--conditions=muster-source",
  "packages/cli/src/main.ts",
  "up",
  ...process.argv.slice(2),
]);
