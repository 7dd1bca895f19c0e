import { createHash } from "node:crypto";
import { lstatSync, readlinkSync, rmSync, symlinkSync } from "node:fs";

/**
 * A short name for a folder: libvirt puts sockets of guests far below its folder, and the path of a socket has at most 107
 * characters (unix(7)). A link in /tmp that is somebody else's is not used.
 */
export class ShortPath {
  readonly path: string;
  readonly #target: string;

  constructor(target: string) {
    this.#target = target;
    this.path = `/tmp/mu${createHash("sha256").update(target).digest("hex").slice(0, 7)}`;
  }

  /** Makes the link where it is not there yet; throws where its name is taken. */
  make(): void {
    if (this.#isOurs()) return;
    symlinkSync(this.#target, this.path);
  }

  remove(): void {
    if (this.#isOurs()) rmSync(this.path);
  }

  #isOurs(): boolean {
    const link = lstatSync(this.path, { throwIfNoEntry: false });
    return (
      link?.isSymbolicLink() === true && link.uid === process.getuid?.() && readlinkSync(this.path) === this.#target
    );
  }
}
