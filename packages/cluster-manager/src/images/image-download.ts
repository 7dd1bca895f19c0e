/** Fetches an image from the address that was given for it: once, for the whole site. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { err, ok, type Result } from "@muster/base";
import { type ImageFault, imageFault, type TakeImage, takeImage } from "@muster/disk-image";

/** Longest silence of the server before it is given up. */
const SILENCE_MS = 60_000;
const REDIRECTS_MAX = 5;

export type Download = Omit<TakeImage, "onProgress"> & {
  readonly url: string;
  readonly onProgress: (bytes: number, totalBytes: number | undefined) => void;
};

export async function downloadImage(download: Download): Promise<Result<{ readonly bytes: number }, ImageFault>> {
  const opened = await follow(download.url, download.signal);
  if (!opened.ok) return opened;
  const response = opened.value;
  const length = Number(response.headers["content-length"] ?? Number.NaN);
  const totalBytes = Number.isSafeInteger(length) ? length : undefined;
  if (totalBytes !== undefined && totalBytes > download.bytesMax) {
    response.destroy();
    return err(imageFault("too-large", `it has ${totalBytes} bytes, there is room for ${download.bytesMax}`));
  }
  try {
    return await takeImage(response, { ...download, onProgress: (bytes) => download.onProgress(bytes, totalBytes) });
  } finally {
    response.destroy();
  }
}

async function follow(start: string, signal: AbortSignal | undefined): Promise<Result<IncomingMessage, ImageFault>> {
  let url = start;
  for (let hops = 0; hops <= REDIRECTS_MAX; hops += 1) {
    const reached = await get(url, signal);
    if (!reached.ok) return reached;
    const { statusCode = 0, headers } = reached.value;
    if (statusCode === 200) return reached;
    reached.value.destroy();
    if (statusCode < 300 || statusCode > 399 || headers.location === undefined)
      return err(imageFault("interrupted", `its server answered with status ${statusCode}`));
    const next = URL.parse(headers.location, url);
    if (next === null || !/^https?:$/.test(next.protocol))
      return err(imageFault("interrupted", "its server sends elsewhere, to what is no http or https address"));
    url = next.href;
  }
  return err(imageFault("interrupted", `its server sends elsewhere more than ${REDIRECTS_MAX} times`));
}

/**
 * By node:http and not by fetch: where a server closes the connection while a slow disk holds the body back, fetch of Node 24
 * ends the whole process with an assertion of its own.
 */
function get(url: string, signal: AbortSignal | undefined): Promise<Result<IncomingMessage, ImageFault>> {
  return new Promise((resolve) => {
    const fail = (cause: Error): void =>
      resolve(err(imageFault("interrupted", `its server cannot be reached: ${cause.message || cause.name}`)));
    try {
      const request = url.startsWith("https:") ? httpsRequest : httpRequest;
      const options = { timeout: SILENCE_MS, headers: { accept: "*/*" }, ...(signal === undefined ? {} : { signal }) };
      const asked = request(url, options, (response) => resolve(ok(response)));
      asked.once("timeout", () => asked.destroy(new Error(`it was silent for ${SILENCE_MS / 1_000} s`)));
      asked.on("error", fail);
      asked.end();
    } catch (cause) {
      fail(cause instanceof Error ? cause : new Error(String(cause)));
    }
  });
}
