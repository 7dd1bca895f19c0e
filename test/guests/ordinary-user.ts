import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { defaultImageCache, ensureGuestImage } from "@muster/federation/guest-image";
import { CHECKOUT, type Launch } from "../system/federation-run.ts";

/** The account `nobody`. */
const NOBODY = 65_534;
/** Covers an empty folder with this checkout, which the user may not be allowed to reach otherwise, and becomes the user. */
const BECOME = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';

/** Somebody without rights of their own on this machine: whoever runs this, or in root's place the account `nobody`. */
export class OrdinaryUser {
  readonly launch: Launch;
  readonly #home: string;

  private constructor(home: string, launch: Launch) {
    this.#home = home;
    this.launch = launch;
  }

  static async begin(): Promise<OrdinaryUser> {
    const home = mkdtempSync("/tmp/mu");
    if (process.getuid?.() !== 0) return new OrdinaryUser(home, { words: [join(CHECKOUT, "muster")], env: {} });
    const checkout = join(home, "checkout");
    const cache = join(home, "cache");
    mkdirSync(checkout);
    // Built, or taken from what root keeps between runs: nobody keeps nothing.
    const progress = (line: string): void => void process.stderr.write(`real guests: ${line}\n`);
    const image = await ensureGuestImage({ cacheFolder: defaultImageCache(), progress });
    if (!image.ok) throw new Error(image.error);
    const kept = dirname(image.value.path);
    cpSync(kept, kept.replace(defaultImageCache(), defaultImageCache({ XDG_CACHE_HOME: cache })), { recursive: true });
    const setpriv = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--inh-caps=-all", "--"];
    const mounting = ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", BECOME, "sh"];
    const words = [...mounting, CHECKOUT, checkout, ...setpriv, join(checkout, "muster")];
    const user = new OrdinaryUser(home, { words, env: { HOME: home, XDG_CACHE_HOME: cache } });
    chmodSync(home, 0o711);
    user.own(home);
    return user;
  }

  /** Gives these folders to the user. */
  own(...folders: readonly string[]): void {
    if (process.getuid?.() !== 0) return;
    const given = spawnSync("chown", ["-R", `${NOBODY}:${NOBODY}`, ...folders], { encoding: "utf8" });
    if (given.status !== 0) throw new Error(`chown: ${given.stderr}`);
  }

  clear(): void {
    rmSync(this.#home, { recursive: true, force: true });
  }
}
