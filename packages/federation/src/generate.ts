/**
 * Writes a federation's files for others to run: `generate.ts --layout containers --out DIR`.
 * Exit codes: 0 written, 1 failed, 2 usage.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { systemClock, systemRng } from "@muster/base";
import { writeContainerLayout } from "./containers/container-layout.ts";

const USAGE = "usage: generate.ts --layout containers --out DIR";

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const out = readOut(args);
  if (out === undefined) {
    process.stderr.write(`${USAGE}\n`);
    return 2;
  }
  try {
    const written = await writeContainerLayout(out, { clock: systemClock, rng: systemRng });
    if (written.ok) {
      const sites = written.value.sites.map(({ name, hosts }) => `${name} with ${hosts.length} hosts`);
      process.stderr.write(`wrote ${sites.join(", ")} to ${out}\n`);
      return 0;
    }
    process.stderr.write(`${written.error}\n`);
  } catch (cause) {
    process.stderr.write(`${out} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}\n`);
  }
  return 1;
}

function readOut(args: readonly string[]): string | undefined {
  try {
    const options = { layout: { type: "string" }, out: { type: "string" } } as const;
    const { values } = parseArgs({ args: [...args], options });
    const { layout, out } = values;
    return layout === "containers" && out !== undefined && out !== "" ? resolve(out) : undefined;
  } catch {
    return undefined;
  }
}
