import { open, rm, stat } from "node:fs/promises";

/**
 * Space kept back beside the store. When the disk runs full it is given up, so that the store can be opened again and
 * tells what it holds; nothing more is written until the reserve is whole again.
 */
export class DiskReserve {
  readonly #path: string;
  readonly #bytes: number;

  constructor(path: string, bytes: number) {
    this.#path = path;
    this.#bytes = bytes;
  }

  /** Fills the reserve up. Answers why it could not, or `undefined`. */
  async fill(): Promise<string | undefined> {
    try {
      if ((await sizeOf(this.#path)) >= this.#bytes) return undefined;
      const file = await open(this.#path, "w", 0o600);
      try {
        await file.writeFile(Buffer.alloc(this.#bytes));
        await file.sync();
      } finally {
        await file.close();
      }
      return undefined;
    } catch (cause) {
      await this.release();
      return cause instanceof Error ? cause.message : String(cause);
    }
  }

  async release(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
