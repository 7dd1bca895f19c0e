// `npm run sim -- --seed N --runs N [--minutes M]`: set-up, then federations on a virtual clock, one seed after the other.
import { prepare } from "./prepare.mjs";
import { runNode } from "./runtime.mjs";

prepare();
process.exitCode = await runNode(["--conditions=muster-source", "test/sim/main.ts", ...process.argv.slice(2)]);
