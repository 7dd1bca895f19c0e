// `npm run torture -- --minutes M [--seed N]`: set-up, then a federation of real processes under load and faults.
import { prepare } from "./prepare.mjs";
import { runNode } from "./runtime.mjs";

/** From the interrupt to the end of all processes. */
const GRACE_MS = 30_000;

prepare();
const program = ["--conditions=muster-source", "test/torture/main.ts", ...process.argv.slice(2)];
process.exitCode = await runNode(program, { graceMs: GRACE_MS });
