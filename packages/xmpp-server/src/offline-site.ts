import { type ChildProcess, spawn } from "node:child_process";
import { err, ok, type Result } from "@muster/base";
import type { Account } from "./account-commands.ts";
import { findBinary } from "./preflight.ts";
import { type ProsodySite, siteFaults, siteFiles } from "./prosody-site.ts";
import { findRunAs, type RunAs } from "./run-as.ts";
import type { ServerFault } from "./server-fault.ts";
import { MODULES_FOLDER, prepareFolder, writeSite } from "./site-folder.ts";

export type OfflineSiteOptions = {
  readonly site: ProsodySite;
  /** Accounts that are made where they are missing; the password of one that exists is left as it is. */
  readonly accounts: readonly Account[];
  /** User that the server will run as where we are root; `prosody` if not given. */
  readonly user?: string;
  /** Folder of our Prosody modules; the checkout's if not given. */
  readonly modulesFolder?: string;
};

const PROSODYCTL_MS_MAX = 20_000;
const OUTPUT_CHARACTERS_MAX = 2_000;

/**
 * Writes everything that `prosody -F --config <folder>/prosody.cfg.lua` needs, accounts included, without a running
 * server and without a network: for servers that somebody else starts, such as a container engine. May be repeated.
 */
export async function writeOfflineSite(options: OfflineSiteOptions): Promise<Result<void, ServerFault>> {
  const { site, accounts, user = "prosody", modulesFolder = MODULES_FOLDER } = options;
  const faults = siteFaults(site);
  if (faults.length > 0) return err({ kind: "bad-site", faults });
  const prosodyctl = await findBinary("prosodyctl", "prosody lua-unbound");
  if (!prosodyctl.ok) return prosodyctl;
  const runAs = await findRunAs(user);
  if (!runAs.ok) return runAs;
  const folder = await prepareFolder(site, runAs.value);
  if (!folder.ok) return folder;
  const written = await writeSite(site, runAs.value, modulesFolder);
  if (!written.ok) return written;
  for (const account of accounts) {
    const added = await addAccount(prosodyctl.value, site, account, runAs.value);
    if (!added.ok) return added;
  }
  return ok(undefined);
}

/** `prosodyctl adduser` asks for the password twice on its standard input: as an argument all could read it (S3). */
async function addAccount(
  prosodyctl: string,
  site: ProsodySite,
  { name, password }: Account,
  runAs: RunAs,
): Promise<Result<void, ServerFault>> {
  const child = spawn(prosodyctl, ["--config", siteFiles(site.folder).config, "adduser", `${name}@${site.domain}`], {
    cwd: site.folder,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", HOME: site.folder },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: PROSODYCTL_MS_MAX,
    ...runAs,
  });
  // One that ends before it has read everything has its say in the exit code.
  child.stdin.on("error", () => {});
  child.stdin.end(`${password}\n${password}\n`);
  const { code, output } = await ending(child);
  if (code === 0 || output.includes("That user already exists")) return ok(undefined);
  return err({ kind: "admin-failed", reason: `account ${name.slice(0, 64)}: ${output.trim() || `exit code ${code}`}` });
}

function ending(child: ChildProcess): Promise<{ readonly code: number | null; readonly output: string }> {
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-OUTPUT_CHARACTERS_MAX);
    });
  return new Promise((resolve) => {
    child.once("error", (cause) => resolve({ code: null, output: cause.message }));
    child.once("close", (code) => resolve({ code, output }));
  });
}
