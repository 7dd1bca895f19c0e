/**
 * The small guest image: a machine of Debian's own kernel, busybox and dropbear, for trials and tests of real guests. It boots
 * from a qcow2 disk with the firmware's BIOS in a few seconds, also where the processor is emulated, in 96 MiB of memory;
 * takes host name, ssh keys and network from its seed (NoCloud), and writes `@@ READY host=… addr=…` to its serial console.
 * Whoever holds the console is root in it: it is no image for other people's work.
 */
import { createHash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { z } from "zod";
import { buildBootDisk } from "./boot-disk.ts";
import { buildInitramfs } from "./initramfs.ts";
import { inputsKey } from "./inputs.ts";
import { fetchKernel } from "./kernel-package.ts";

const manifestSchema = z.object({
  digest: z.string(),
  bytes: z.int(),
  virtualMiB: z.int(),
  kernel: z.string(),
});

/** An image file, as a site's catalogue wants to know it. */
export type GuestImageFile = z.output<typeof manifestSchema> & { readonly path: string; readonly format: "qcow2" };

export type GuestImageOptions = {
  /** Where images are kept between runs, one folder for each key of inputs. */
  readonly cacheFolder: string;
  readonly progress: (line: string) => void;
};

/** Least memory that the guest boots in. */
export const GUEST_MEMORY_MIB = 96;

/** The guest image, built on first use (10 s or so, with one download of 26 MB), afterwards taken from the cache. */
export async function ensureGuestImage(options: GuestImageOptions): Promise<Result<GuestImageFile, string>> {
  const key = await inputsKey();
  if (!key.ok) return key;
  const folder = join(options.cacheFolder, key.value);
  const kept = readKept(folder);
  if (kept !== undefined) return ok(kept);
  mkdirSync(options.cacheFolder, { recursive: true });
  const work = mkdtempSync(join(options.cacheFolder, ".build-"));
  try {
    const built = await build(work, options.progress);
    if (!built.ok) return err(`the guest image cannot be built: ${built.error}`);
    return publish(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Where images are kept when nobody says otherwise. */
export function defaultImageCache(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "muster", "guest-image");
}

async function build(work: string, progress: (line: string) => void): Promise<Result<void, string>> {
  progress("builds the small guest image: fetches a kernel from Debian");
  const kernel = await fetchKernel(work);
  if (!kernel.ok) return kernel;
  const initrd = await buildInitramfs(kernel.value, work);
  if (!initrd.ok) return initrd;
  const disk = await buildBootDisk({ vmlinuz: kernel.value.vmlinuz, initrd: initrd.value }, work);
  if (!disk.ok) return disk;
  const digest = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(disk.value.path)) {
    digest.update(chunk);
    bytes += chunk.length;
  }
  const manifest: z.input<typeof manifestSchema> = {
    digest: `sha256:${digest.digest("hex")}`,
    bytes,
    virtualMiB: disk.value.virtualMiB,
    kernel: kernel.value.version,
  };
  mkdirSync(join(work, "done"));
  renameSync(disk.value.path, join(work, "done", "guest.qcow2"));
  writeFileSync(join(work, "done", "manifest.json"), JSON.stringify(manifest));
  progress(`the guest image is ready: Linux ${manifest.kernel}, ${Math.round(bytes / 1024 / 1024)} MiB`);
  return ok(undefined);
}

/** Moves the finished image to its place at once; of two builds at the same time, the first one stays. */
function publish(work: string, folder: string): Result<GuestImageFile, string> {
  try {
    renameSync(join(work, "done"), folder);
  } catch (cause) {
    if (readKept(folder) === undefined) throw cause;
  }
  const kept = readKept(folder);
  return kept === undefined ? err(`the guest image in ${folder} cannot be read back`) : ok(kept);
}

function readKept(folder: string): GuestImageFile | undefined {
  const path = join(folder, "guest.qcow2");
  if (!existsSync(path) || !existsSync(join(folder, "manifest.json"))) return undefined;
  try {
    const manifest = manifestSchema.safeParse(JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")));
    return manifest.success ? { ...manifest.data, path, format: "qcow2" } : undefined;
  } catch {
    return undefined;
  }
}
