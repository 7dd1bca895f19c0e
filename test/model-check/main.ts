// `node test/model-check/main.ts NO_FENCE`: the shortest way in which things go wrong without a rule; without one, whether
// the claims hold.
import { checkModel, DROPPED } from "./model.ts";

const defines = process.argv.slice(2);
const verdict = await checkModel(defines, defines.length > 0);
if (verdict.kind === "holds") {
  process.stdout.write(`all claims hold in ${verdict.states} states, ${verdict.memoryMiB} MiB\n`);
  process.stdout.write(`rules to drop: ${DROPPED.map(({ rule }) => rule).join(" ")}\n`);
} else {
  process.stdout.write(`${verdict.story.join("\n")}\n=> ${verdict.claim}\n`);
  process.exitCode = 1;
}
