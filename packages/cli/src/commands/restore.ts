import { type Result, systemClock, systemRng } from "@muster/base";
import type { RestoreFault, RestoreOptions, RestoreReport } from "@muster/cluster-manager/backup";
import { type Command, InvalidArgumentError } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { confirm, say } from "../terminal.ts";

type Options = {
  readonly config: string;
  readonly above: number;
  readonly host: readonly string[];
  readonly inPlace?: boolean;
  readonly salvage?: boolean;
  readonly dropDamaged?: boolean;
  readonly yes?: boolean;
};

export function addRestoreCommand(program: Command): void {
  program
    .command("restore [file]")
    .description("put a backup in the place of a stopped site's store; its managers then meet the hosts anew")
    .requiredOption("--config <file>", "configuration of one of the site's cluster managers")
    .option(
      "--above <term>",
      "highest term that a host is known to have obeyed (muster doctor names it)",
      wholeNumber,
      0,
    )
    .option("--host <name>", "a host let in after the backup; may be given again", collect, [])
    .option("--in-place", "no backup: take the store as it is for one, after an older copy of it was put back")
    .option("--salvage", "no backup: let LevelDB put together what is left of a damaged store, then as --in-place")
    .option(
      "--drop-damaged",
      "with --in-place or --salvage: leave damaged records out; each is named and kept in a file",
    )
    .option("--yes", "do not ask")
    .addHelpText(
      "after",
      `
Stop all managers of the site first; hosts and their VMs run on. What was stored before is kept beside the new store.
After the start the managers wait until every host was heard or declared dead (muster host fence). VMs begun after the
backup are adopted, VMs that ended since end in the records, and nothing that runs is stopped for being unknown.

  muster restore alpha.backup --config /etc/muster/cluster.yaml
  muster restore --in-place --above 17 --config /etc/muster/cluster.yaml
`,
    )
    .action(async (file: string | undefined, options: Options) => {
      const inPlace = options.inPlace === true || options.salvage === true;
      if ((file === undefined) === !inPlace)
        throw new CommandFailed("name a backup, or say --in-place or --salvage: one of them", EXIT.usage);
      if (options.dropDamaged === true && !inPlace)
        throw new CommandFailed("--drop-damaged belongs to --in-place or --salvage", EXIT.usage);
      await restore(file, options);
    });
}

async function restore(file: string | undefined, options: Options): Promise<void> {
  const { readSiteConfig, restoreBackup, restoreInPlace } = await import("@muster/cluster-manager/backup");
  const config = readSiteConfig(options.config);
  if (!config.ok) throw new CommandFailed(config.error, EXIT.usage);
  const { site, store } = config.value;
  const place = store.kind === "level" ? store.path : `etcd ${store.prefix ?? `muster/${site}/`}`;
  const what = file === undefined ? "taken for a restored one as it is" : `replaced by ${file}`;
  await confirm(`The store of ${site} (${place}) is ${what}.`, options.yes);
  const given: RestoreOptions = {
    config: config.value,
    clock: systemClock,
    rng: systemRng,
    nowMs: Date.now(),
    above: options.above,
    hosts: options.host,
    keepFolder: process.cwd(),
    say,
  };
  const { salvage = false, dropDamaged = false } = options;
  const outcome: Result<RestoreReport, RestoreFault> =
    file === undefined ? await restoreInPlace(given, { salvage, dropDamaged }) : await restoreBackup(given, file);
  if (!outcome.ok) throw new CommandFailed(outcome.error.message, EXIT.failed);
  const { records, term, kept } = outcome.value;
  say(`${records} records are in place; the site goes on above term ${term}. Start its managers, then: muster doctor`);
  for (const path of kept) say(`kept, to be removed by you: ${path}`);
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("must be a whole number");
  return Number(text);
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
