// Set-up as a whole, idempotent: look, decide, and only if something is missing take the lock, look again and install.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { installDebianPackages, installNpmPackages } from "./install.mjs";
import { DEBIAN_PACKAGES, decide, GUEST_PACKAGES, npmReason, parseDpkg } from "./plan.mjs";
import { bundledNode, root, say } from "./runtime.mjs";

/** How long one set-up waits for another that is at work. */
const WAIT_SECONDS = 900;

/** flock's exit code when somebody else holds the lock; any number that set-up itself does not use. */
const LOCKED = 75;

/** Written when the packages for real guests could not be installed, so that not every command tries again. */
const PUT_OFF_FILE = join(root, "node_modules", ".cache", "muster", "guests-put-off");
const PUT_OFF_MS = 24 * 3_600_000;

/** Makes this checkout ready to run, with `tests` also to be tested, or says why it cannot and ends the process with 1. */
export function prepare({ tests = false } = {}) {
  const plan = look(tests);
  if (plan.refusal !== null) refuse(plan.refusal);
  if (isDone(plan)) return;
  const code = underLock(tests);
  if (code !== 0) process.exit(code);
}

/** Installs what is missing; runs while this process's parent holds the lock. Resolves with an exit code. */
export async function install({ tests }) {
  const plan = look(tests);
  if (plan.refusal !== null) refuse(plan.refusal);
  // The set-up that held the lock before may have installed everything.
  if (isDone(plan)) return 0;
  const startedAt = performance.now();
  const failure =
    (plan.debian.length > 0 ? await installDebianPackages(plan.debian) : null) ??
    (plan.npm !== null ? await installNpmPackages(plan.npm) : null);
  if (failure !== null) {
    say(failure);
    return 1;
  }
  if (plan.guests.length > 0) await installForGuests(plan.guests);
  say(`set-up: done in ${Math.round((performance.now() - startedAt) / 1000)} s`);
  return 0;
}

function isDone({ npm, debian, guests }) {
  return npm === null && debian.length === 0 && guests.length === 0;
}

/** Everything but real guests works without these: what goes wrong here is said, and tried again another day. */
async function installForGuests(packages) {
  const failure = await installDebianPackages(packages);
  rmSync(PUT_OFF_FILE, { force: true });
  if (failure === null) return;
  say(failure);
  say("set-up: goes on without real guests; `npm run setup` tries again");
  mkdirSync(dirname(PUT_OFF_FILE), { recursive: true });
  writeFileSync(PUT_OFF_FILE, "");
}

/** For whoever asks for set-up itself: everything is tried again. */
export function forgetPutOff() {
  rmSync(PUT_OFF_FILE, { force: true });
}

function wasPutOff() {
  const file = statSync(PUT_OFF_FILE, { throwIfNoEntry: false });
  return file !== undefined && Date.now() - file.mtimeMs < PUT_OFF_MS;
}

/**
 * Runs `install` in a child of flock(1), so that two set-ups never install at once. The kernel drops such a
 * lock with its holder: there is no stale one to detect. Root may install system packages, and locks for
 * the whole machine; anyone else only writes into this checkout, and locks that.
 */
function underLock(tests) {
  const file = process.getuid?.() === 0 ? "/run/muster-setup.lock" : join(root, "package-lock.json");
  const program = [process.execPath, join(root, "scripts", "setup.mjs"), "--locked", ...(tests ? ["--tests"] : [])];
  if (onPath("flock") === null) return spawnSync(program[0], program.slice(1), { stdio: "inherit" }).status ?? 1;
  // --close: a daemon that a package starts must not inherit the lock.
  const flock = (how) =>
    spawnSync("flock", ["--close", "--conflict-exit-code", `${LOCKED}`, ...how, file, ...program], {
      stdio: "inherit",
    }).status ?? 1;
  const code = flock(["--nonblock"]);
  if (code !== LOCKED) return code;
  say("set-up: waits for another set-up on this machine");
  const second = flock(["--timeout", `${WAIT_SECONDS}`]);
  if (second === LOCKED)
    say(`set-up: another set-up still holds ${file} after ${WAIT_SECONDS / 60} minutes: giving up`);
  return second === LOCKED ? 1 : second;
}

function look(tests) {
  const installed = join(root, "node_modules", ".package-lock.json");
  return decide({
    nodeVersion: process.versions.node,
    platform: process.platform,
    processor: process.arch,
    bundledNode: existsSync(bundledNode()),
    npmReason: npmReason(
      readFileSync(join(root, "package-lock.json"), "utf8"),
      existsSync(installed) ? readFileSync(installed, "utf8") : null,
    ),
    hasNpm: onPath("npm") !== null,
    missing: missingPackages([
      ...DEBIAN_PACKAGES.filter((entry) => tests || entry.only === undefined),
      ...GUEST_PACKAGES,
    ]),
    isRoot: process.getuid?.() === 0,
    hasApt: onPath("apt-get") !== null,
    guestsPutOff: wasPutOff(),
  });
}

function missingPackages(wanted) {
  const names = wanted.map((entry) => entry.name);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own notation
  const query = spawnSync("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Status}\\n", ...names], {
    encoding: "utf8",
  });
  if (query.error === undefined) {
    const installed = parseDpkg(query.stdout);
    return names.filter((name) => !installed.includes(name));
  }
  const absent = wanted.filter((entry) => entry.files.length > 0 && !entry.files.some(existsSync));
  return absent.map((entry) => entry.name);
}

function onPath(command) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const file = join(folder, command);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

function refuse(text) {
  say(text);
  process.exit(1);
}
