// Runs vitest with its own arguments and writes the counts of the run to the file named first.
import { writeFileSync } from "node:fs";
import { parseCLI, startVitest } from "vitest/node";
import { tally } from "./tally.mjs";

const [file, ...args] = process.argv.slice(2);
const { filter, options } = parseCLI(["vitest", "run", ...args]);
const counter = {
  // A test that passed only at its second try is news: it may be the machine, it may be a rare fault.
  onTestCaseResult: (test) => {
    if ((test.diagnostic()?.retryCount ?? 0) > 0)
      process.stdout.write(`\nneeded a second try: ${test.module.relativeModuleId} > ${test.fullName}\n`);
  },
  onTestRunEnd: (modules, unhandledErrors) => writeFileSync(file, JSON.stringify(tally(modules, unhandledErrors))),
};
const chosen = options.reporters ?? options.reporter ?? ["default"];
const vitest = await startVitest("test", filter, { ...options, run: true, reporters: [...[chosen].flat(), counter] });
await vitest.close();
