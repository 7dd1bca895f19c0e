import type { SiteEntry } from "@muster/federation/state";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { type Column, formatList } from "../output/format.ts";
import { type GlobalOptions, openSession, type Session } from "../session.ts";
import { print } from "../terminal.ts";
import { type Check, ill } from "./check.ts";
import { machineChecks } from "./machine-checks.ts";
import { siteChecks } from "./site-checks.ts";

/** Whoever asks the doctor wants to know what is down now. */
const PATIENCE_MS = 2_000;

const COLUMNS: readonly Column<Check>[] = [
  { heading: "CHECK", value: ({ name }) => name },
  { heading: "VERDICT", value: ({ verdict }) => verdict },
  { heading: "FOUND", value: ({ message }) => message },
  { heading: "REMEDY", value: ({ remedy }) => remedy },
];

export function addDoctorCommand(program: Command): void {
  program
    .command("doctor")
    .description("check Node.js, programs, XMPP login, component, libvirt, clock and peers, and say what to do")
    .option("--config <file>", "configuration of a cluster manager: its store is read to the end as well, at rest")
    .action(async (options: { config?: string }, command: Command) => {
      const { format } = command.optsWithGlobals<GlobalOptions>();
      const stored = options.config === undefined ? [] : await restingStore(options.config);
      const checks = [...machineChecks(process.env, process.versions.node), ...stored, ...(await reachChecks(command))];
      print(formatList(checks, COLUMNS, format));
      const failed = checks.filter(({ verdict }) => verdict === "fail").length;
      if (failed > 0) throw new CommandFailed(`${failed} of ${checks.length} checks failed`, EXIT.failed);
    });
}

async function reachChecks(command: Command): Promise<readonly Check[]> {
  const session = sessionOrFault(command);
  if (typeof session === "string") return [ill("site", session, "start one with ./muster up, or name one with --api")];
  const login = session.entry === undefined ? [] : [await logIn(session.entry)];
  return [...login, ...(await siteChecks(session.client, session.urls))];
}

/** The store of a site at rest. Loaded only here: no other command but a restore needs it. */
async function restingStore(file: string): Promise<readonly Check[]> {
  const { examineStore, readSiteConfig } = await import("@muster/cluster-manager/backup");
  const config = readSiteConfig(file);
  if (!config.ok) return [ill("store", config.error, "name the configuration of one of the site's cluster managers")];
  const findings = await examineStore(config.value, file);
  return findings.map((finding) => ({ name: "store", ...finding }));
}

function sessionOrFault(command: Command): Session | string {
  try {
    return openSession(command, PATIENCE_MS);
  } catch (cause) {
    if (cause instanceof CommandFailed) return cause.message;
    throw cause;
  }
}

/** The XMPP client is loaded only here: no other command needs it. */
async function logIn(entry: SiteEntry): Promise<Check> {
  const { loginCheck } = await import("./login-check.ts");
  return loginCheck(entry);
}
