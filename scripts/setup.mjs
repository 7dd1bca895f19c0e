// `npm run setup`: installs what this machine lacks, and nothing the second time. Needs only Node 20 and npm.
import { install, prepare } from "./prepare.mjs";
import { say } from "./runtime.mjs";

if (process.argv.includes("--locked")) {
  process.exitCode = await install();
} else {
  prepare();
  say("set-up: everything is in place");
}
