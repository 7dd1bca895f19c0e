// `npm run setup`: installs what this machine lacks, for running and for tests, and nothing the second time. Needs only
// Node 20 and npm.
import { forgetPutOff, install, prepare } from "./prepare.mjs";
import { say } from "./runtime.mjs";

if (process.argv.includes("--locked")) {
  process.exitCode = await install({ tests: process.argv.includes("--tests") });
} else {
  forgetPutOff();
  prepare({ tests: true });
  say("set-up: everything is in place");
}
