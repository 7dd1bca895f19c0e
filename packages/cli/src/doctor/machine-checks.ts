import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Check, ill, well } from "./check.ts";

/** Programs that Muster starts, and the Debian package each comes from. */
const PROGRAMS = [
  { program: "prosody", debianPackage: "prosody", what: "the XMPP server" },
  { program: "libvirtd", debianPackage: "libvirt-daemon", what: "the hypervisor's daemon" },
  { program: "openssl", debianPackage: "openssl", what: "certificates" },
  { program: "setpriv", debianPackage: "util-linux", what: "servers without root's rights" },
] as const;

const NODE_MAJOR_MIN = 22;

/** What can be told without talking to anyone: Node.js and the programs. */
export function machineChecks(env: NodeJS.ProcessEnv, nodeVersion: string): readonly Check[] {
  return [nodeCheck(nodeVersion), ...PROGRAMS.map((wanted) => programCheck(wanted, env.PATH ?? ""))];
}

function nodeCheck(version: string): Check {
  const major = Number(version.split(".")[0]);
  if (major >= NODE_MAJOR_MIN) return well("node", `Node.js ${version}`);
  return ill(
    "node",
    `Node.js ${version} is too old`,
    `use ${NODE_MAJOR_MIN}.18 or newer, or start through ./muster, which brings its own`,
  );
}

/** A program that is started from here, and where it comes from. */
export type Program = { readonly program: string; readonly debianPackage: string; readonly what: string };

/** Whether a program is there, on this path or where the system has its own. */
export function programCheck(wanted: Program, path: string): Check {
  const { program, debianPackage, what } = wanted;
  const found = [...path.split(delimiter), "/usr/sbin", "/usr/bin"]
    .map((folder) => join(folder, program))
    .find(isExecutable);
  if (found !== undefined) return well(program, `${found} (${what})`);
  return ill(program, `not installed (${what})`, `apt-get install --no-install-recommends ${debianPackage}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
