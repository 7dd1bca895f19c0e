import { readSecret, systemClock, systemRng } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import { defaultStateRoot, readFederationFile, type SiteEntry } from "@muster/federation/state";
import { type Command, Option } from "commander";
import { CommandFailed, EXIT } from "./exit-code.ts";
import { FORMATS, type Format } from "./output/format.ts";

/** Options that every command has. */
export type GlobalOptions = {
  readonly site?: string;
  readonly api?: string;
  readonly tokenFile?: string;
  readonly state?: string;
  readonly format: Format;
};

/** What a command works with: a site's client, the output format, and the entry it came from. */
export type Session = {
  readonly client: SiteClient;
  readonly format: Format;
  /** Where the site is part of a federation on this machine. */
  readonly entry: SiteEntry | undefined;
  readonly urls: readonly string[];
};

/** How long a command goes on trying while no manager answers: a change of leader takes less. */
const PATIENCE_MS = 8_000;

export function addGlobalOptions(program: Command): void {
  program
    .option("--site <name>", "site of the local federation, by name or domain (default: the first)")
    .option("--api <url>", "address of a cluster manager's HTTP API; several with commas (or MUSTER_API)")
    .option("--token-file <file>", "file that holds the API token (or MUSTER_TOKEN_FILE, MUSTER_TOKEN)")
    .option("--state <dir>", "state folder of the local federation (or MUSTER_STATE)")
    .addOption(new Option("--format <format>", "how to print").choices(FORMATS).default("table"));
}

/**
 * Finds the site to talk to: by address where one is given, else in the local federation's state folder. Its client goes
 * on trying for `patienceMs` while nobody answers.
 */
export function openSession(command: Command, patienceMs = PATIENCE_MS): Session {
  const options = command.optsWithGlobals<GlobalOptions>();
  const api = options.api ?? process.env.MUSTER_API;
  const entry = api === undefined ? localSite(options) : undefined;
  const urls = entry?.urls ?? (api ?? "").split(",").map(checkedUrl);
  const client = createSiteClient({
    endpoint: { urls, token: tokenOf(options, entry) },
    clock: systemClock,
    rng: systemRng,
    patienceMs,
  });
  return { client, format: options.format, entry, urls };
}

function localSite(options: GlobalOptions): SiteEntry {
  const file = readFederationFile(options.state ?? defaultStateRoot());
  if (!file.ok) throw new CommandFailed(file.error, EXIT.unreachable);
  const { sites } = file.value;
  const entry =
    options.site === undefined
      ? sites[0]
      : sites.find(({ name, domain }) => [name, domain].includes(options.site ?? ""));
  if (entry === undefined)
    throw new CommandFailed(
      `there is no site "${options.site}" here; there are: ${sites.map(({ name }) => name).join(", ")}`,
      EXIT.notFound,
    );
  return entry;
}

function checkedUrl(text: string): string {
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? ""))
    throw new CommandFailed(`--api: "${text}" is no address such as http://127.0.11.1:8080`, EXIT.usage);
  return text;
}

function tokenOf(options: GlobalOptions, entry: SiteEntry | undefined): string {
  const file =
    options.tokenFile ??
    process.env.MUSTER_TOKEN_FILE ??
    (process.env.MUSTER_TOKEN === undefined ? entry?.tokenFile : undefined);
  if (file === undefined) {
    if (process.env.MUSTER_TOKEN !== undefined) return process.env.MUSTER_TOKEN;
    throw new CommandFailed("no API token: give --token-file, or set MUSTER_TOKEN_FILE or MUSTER_TOKEN", EXIT.usage);
  }
  const secret = readSecret(file);
  if (!secret.ok) throw new CommandFailed(secret.error.message, EXIT.notAllowed);
  return secret.value;
}
