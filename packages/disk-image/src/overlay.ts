import { open } from "node:fs/promises";
import { headOf, qcow2Header } from "./disk-header.ts";

/** A qcow2 disk of our own making, as its header describes it. */
export type Overlay = {
  readonly virtualBytes: bigint;
  /** The file that lies under it, by the path it was made with. */
  readonly backingFile?: string;
};

/** `undefined` where the file is no qcow2 disk. Not for files from strangers: `inspectImage` refuses what this one tells. */
export async function readOverlay(path: string): Promise<Overlay | undefined> {
  const file = await open(path, "r");
  try {
    return qcow2Header(await headOf(file));
  } finally {
    await file.close();
  }
}
