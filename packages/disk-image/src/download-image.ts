import { type Clock, err, ok, type Result } from "@muster/base";
import { imageFault } from "./image-fault.ts";
import { type ImageSource, openSource } from "./image-source.ts";
import type { DownloadFault } from "./source-fault.ts";
import { type TakeImage, takeImage } from "./take-image.ts";
import { type TransferLimits, TransferWatch } from "./transfer-watch.ts";

export type DownloadImage = Omit<TakeImage, "onProgress"> & {
  /** `http:` or `https:`; it is in no fault (S3). */
  readonly url: string;
  readonly clock: Clock;
  readonly limits: TransferLimits;
  /** Most redirects that are followed; 0: the address has it itself. */
  readonly redirectsMax?: number;
  /** `totalBytes`: where the server tells how much comes. */
  readonly onProgress?: (bytes: number, totalBytes: number | undefined) => void;
};

/** Fetches a disk image and takes it in under its digest, as `takeImage` does: whatever goes wrong, nothing of it is left. */
export async function downloadImage(
  download: DownloadImage,
): Promise<Result<{ readonly bytes: number }, DownloadFault>> {
  const watch = new TransferWatch(download.clock, download.limits, download.signal);
  try {
    const source = await openSource(download.url, watch, download.redirectsMax);
    if (!source.ok) return source;
    try {
      return await takeFrom(source.value, download);
    } finally {
      source.value.close();
    }
  } finally {
    watch.stop();
  }
}

async function takeFrom(
  source: ImageSource,
  download: DownloadImage,
): Promise<Result<{ readonly bytes: number }, DownloadFault>> {
  const { totalBytes, content } = source;
  if (totalBytes !== undefined && totalBytes > download.bytesMax) {
    const message = `it has ${totalBytes} bytes, there is room for ${download.bytesMax}`;
    return err({ kind: "refused", fault: imageFault("too-large", message) });
  }
  const taken = await takeImage(content, {
    ...download,
    onProgress: (bytes) => download.onProgress?.(bytes, totalBytes),
  });
  if (taken.ok) return ok(taken.value);
  return err(source.fault() ?? { kind: "refused", fault: taken.error });
}
