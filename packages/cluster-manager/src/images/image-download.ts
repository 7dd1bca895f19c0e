/** Fetches an image from the address that was given for it: once, for the whole site. */
import { err, type Result } from "@muster/base";
import { type ImageFault, imageFault, type TakeImage, takeImage } from "@muster/disk-image";

/** Longest silence of the server before it is given up. */
const SILENCE_MS = 60_000;

export type Download = Omit<TakeImage, "onProgress"> & {
  readonly url: string;
  readonly onProgress: (bytes: number, totalBytes: number | undefined) => void;
};

export async function downloadImage(download: Download): Promise<Result<{ readonly bytes: number }, ImageFault>> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const heard = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  const signal = AbortSignal.any([silence.signal, ...(download.signal === undefined ? [] : [download.signal])]);
  try {
    const response = await fetch(download.url, { signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      return err(imageFault("interrupted", `its server answered with status ${response.status}`));
    }
    const length = Number(response.headers.get("content-length") ?? Number.NaN);
    const totalBytes = Number.isSafeInteger(length) ? length : undefined;
    if (totalBytes !== undefined && totalBytes > download.bytesMax) {
      await response.body.cancel();
      return err(imageFault("too-large", `it has ${totalBytes} bytes, there is room for ${download.bytesMax}`));
    }
    const onProgress = (bytes: number): void => {
      heard();
      download.onProgress(bytes, totalBytes);
    };
    return await takeImage(response.body, { ...download, signal, onProgress });
  } catch (cause) {
    const deepest = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const why = deepest instanceof Error ? deepest.message : String(deepest);
    return err(imageFault("interrupted", `its server cannot be reached: ${why}`));
  } finally {
    clearTimeout(timer);
  }
}
