import type { SiteEntry } from "@muster/federation/state";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { type Column, formatList } from "../output/format.ts";
import { type GlobalOptions, openSession, type Session } from "../session.ts";
import { print } from "../terminal.ts";
import { type Check, ill } from "./check.ts";
import { machineChecks } from "./machine-checks.ts";
import { serverChecks } from "./server-check.ts";
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
    .option(
      "--config <file>",
      "configuration of a cluster manager: its store is looked at as well, a level store at rest",
    )
    .action(async (options: { config?: string }, command: Command) => {
      const { format } = command.optsWithGlobals<GlobalOptions>();
      const session = sessionOrFault(command);
      const local = typeof session === "string" ? undefined : session.entry?.managerConfig;
      const stored = await storeAlone(options.config ?? local, options.config !== undefined);
      const machine = machineChecks(process.env, process.versions.node);
      const checks = [...machine, ...(await guests()), ...stored, ...(await reachChecks(session))];
      print(formatList(checks, COLUMNS, format));
      const failed = checks.filter(({ verdict }) => verdict === "fail").length;
      if (failed > 0) throw new CommandFailed(`${failed} of ${checks.length} checks failed`, EXIT.failed);
    });
}

/** Loaded only here: no other command looks at what the kernel can do. */
async function guests(): Promise<readonly Check[]> {
  const { guestChecks } = await import("./guest-checks.ts");
  return guestChecks();
}

async function reachChecks(session: Session | string): Promise<readonly Check[]> {
  if (typeof session === "string") return [ill("site", session, "start one with ./muster up, or name one with --api")];
  const { entry } = session;
  const login = entry === undefined ? [] : [...serverChecks(entry.server, process.env.PATH ?? ""), await logIn(entry)];
  return [...login, ...(await siteChecks(session.client, session.urls))];
}

/**
 * The store itself, also where no manager answers: etcd's members, or with `atRest` the folder of a site whose managers are
 * stopped. Loaded only here: no other command but a restore needs it.
 */
async function storeAlone(file: string | undefined, atRest: boolean): Promise<readonly Check[]> {
  if (file === undefined) return [];
  const { examineStore, readSiteConfig } = await import("@muster/cluster-manager/backup");
  const config = readSiteConfig(file);
  if (!config.ok) return [ill("store", config.error, "name the configuration of one of the site's cluster managers")];
  if (config.value.store.kind === "etcd") {
    const { checkConfiguredEtcd } = await import("@muster/cluster-manager/etcd-health");
    return checkConfiguredEtcd(config.value);
  }
  if (!atRest) return [];
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
