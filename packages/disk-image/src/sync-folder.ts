import { open } from "node:fs/promises";

/** A name is durable when its folder is: a rename outlives a power cut only once this has ended. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
