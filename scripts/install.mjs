// Set-up's deeds: npm packages and Debian packages. Each function returns null, or one message of what went wrong.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { capture, forwardSignals, root, say } from "./runtime.mjs";

/** Asked by Debian's package scripts before they start or stop a service; exit 101 forbids it. DPKG_ROOT as in dpkg(1). */
const POLICY_FILE = join(process.env.DPKG_ROOT || "/", "usr/sbin/policy-rc.d");

/** Said on the command line because a user's or the machine's npm settings may say anything. */
const NPM_ARGUMENTS = [
  "ci",
  "--ignore-scripts",
  "--include=dev",
  "--include=optional",
  "--bin-links=true",
  "--package-lock=true",
  "--legacy-peer-deps=false",
  "--dry-run=false",
  "--global=false",
  // npm itself runs on the machine's Node; what needs a newer one is run with the newer one.
  "--engine-strict=false",
  "--loglevel=error",
  "--no-audit",
  "--no-fund",
  "--no-update-notifier",
  "--no-progress",
];

/** Installs the npm packages of package-lock.json. */
export async function installNpmPackages(reason) {
  say(`set-up: installs the npm packages of package-lock.json (${reason})`);
  const { code, output } = await capture("npm", NPM_ARGUMENTS, { env: npmEnvironment() });
  if (code === 0) return null;
  return [
    `set-up: \`npm ci\` failed (exit ${code}):`,
    // npm says what is wrong first, and ends with help on its own use.
    indented(printed(output).slice(0, 12)),
    "Check that the npm registry is reachable (`npm ping`), that this folder can be written and that the disk has room,",
    "then run the same command again.",
  ].join("\n");
}

/** `npm ci` empties node_modules first, so npm must not run on the Node that lies in there. */
function npmEnvironment() {
  const inside = join(root, "node_modules");
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.startsWith(inside));
  return { ...process.env, PATH: [...folders, dirname(process.execPath)].join(delimiter) };
}

/** Installs Debian packages (entries of DEBIAN_PACKAGES); their services are left off. */
export async function installDebianPackages(packages) {
  for (const entry of packages) say(`set-up: installs the Debian package ${entry.name}: ${entry.why}`);
  const names = packages.map((entry) => entry.name);
  const services = packages.flatMap((entry) => entry.service ?? []);
  // apt-get gets Ctrl-C from a terminal by itself; other signals wait until dpkg has left no package half installed.
  const stopIgnoring = forwardSignals(() => {});
  const allow = forbidStart(services);
  try {
    const update = await aptGet(["update"]);
    if (update.code !== 0) return aptFailure("apt-get update", update);
    const install = await aptGet(["install", "--yes", "--no-install-recommends", ...names]);
    if (install.code !== 0) return aptFailure(`apt-get install ${names.join(" ")}`, install);
  } finally {
    allow();
    stopIgnoring();
  }
  await leaveOff(services);
  return null;
}

function aptGet(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", APT_LISTCHANGES_FRONTEND: "none" };
  // Without Error-Mode, apt-get update ends with 0 although it reached no server.
  const options = ["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Update::Error-Mode=any"];
  return capture("apt-get", [...options, ...args], { env });
}

function aptFailure(command, { code, output }) {
  return [
    `set-up: \`${command}\` failed (exit ${code}):`,
    indented(printed(output).slice(-12)),
    "Check the network and the sources of apt (/etc/apt/sources.list), then run the same command again.",
  ].join("\n");
}

/**
 * Keeps packages from starting their services while they are installed; returns how to end that.
 *
 * Debian starts a server as soon as its package is unpacked: for Prosody a public one, with the package's
 * own configuration, on every address of the machine. policy-rc.d is Debian's own switch against that. One
 * that is there already (containers have it) is the administrator's, and stays; ours forbids our services
 * only. One left behind by a killed set-up has the same text and is taken over.
 */
function forbidStart(services) {
  if (services.length === 0) return () => {};
  const pattern = services.map((name) => `${name}|${name}.service|${name}.socket`).join("|");
  const text = `#!/bin/sh\n# Written by the set-up of Muster while it installs packages.\ncase "$1" in ${pattern}) exit 101 ;; esac\nexit 0\n`;
  if (existsSync(POLICY_FILE) && readFileSync(POLICY_FILE, "utf8") !== text) return () => {};
  writeFileSync(POLICY_FILE, text, { mode: 0o755 });
  return () => rmSync(POLICY_FILE, { force: true });
}

/**
 * Stops services that were started nevertheless, and keeps them from starting at the next boot. Only called
 * for packages that were not there before: a server that somebody else runs here is never touched.
 */
async function leaveOff(services) {
  for (const name of services) {
    await capture("invoke-rc.d", [name, "stop"]);
    let disabled = await capture("update-rc.d", [name, "disable"]);
    // One that systemd alone knows, without a script of old.
    if (disabled.code !== 0) disabled = await capture("systemctl", ["disable", `${name}.service`, `${name}.socket`]);
    const state = disabled.code === 0 ? "is off" : "could not be switched off";
    say(`set-up: the system-wide ${name} service ${state}; Muster starts servers of its own`);
  }
}

function printed(output) {
  return output.split("\n").filter((line) => line.trim() !== "" && !/^npm (?:warn|error)\s*$/.test(line));
}

function indented(lines) {
  return lines.map((line) => `  ${line}`).join("\n");
}
