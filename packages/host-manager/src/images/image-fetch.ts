/** Brings an image onto the host from the first of its sources that has it whole and right. */
import { assertNever, type Clock, err, ok, type Result } from "@muster/base";
import { type DownloadFault, downloadImage, type ImageFault, REDIRECTS_MAX } from "@muster/disk-image";
import type { GuestImage } from "@muster/protocol";

export type FetchLimits = {
  /** For one source, from the first word to the last byte. */
  readonly fetchMs: number;
  /** Longest silence of a source. */
  readonly stallMs: number;
};

/**
 * Tries the sources in order; `path` is there once the content is whole, right and synced. The fault tells what was wrong
 * with each, without its URL, which may carry a ticket (S3).
 */
export async function fetchImage(
  image: GuestImage,
  path: string,
  clock: Clock,
  limits: FetchLimits,
  signal: AbortSignal,
): Promise<Result<void, string>> {
  if (image.urls.length === 0) return err("the image is not on this host, and no place is known to fetch it from");
  const faults: string[] = [];
  for (const [index, url] of image.urls.entries()) {
    const fetched = await fetchFrom(url, { image, path, clock, limits, signal });
    if (fetched.ok || signal.aborted) return fetched;
    faults.push(image.urls.length === 1 ? fetched.error : `source ${index + 1}: ${fetched.error}`);
  }
  return err(faults.join("; "));
}

type Fetch = {
  readonly image: GuestImage;
  readonly path: string;
  readonly clock: Clock;
  readonly limits: FetchLimits;
  readonly signal: AbortSignal;
};

async function fetchFrom(url: string, { image, path, clock, limits, signal }: Fetch): Promise<Result<void, string>> {
  const { fetchMs, stallMs } = limits;
  let came = 0;
  const fetched = await downloadImage({
    url,
    path,
    clock,
    signal,
    digest: image.digest,
    redirectsMax: image.direct === true ? 0 : REDIRECTS_MAX,
    bytesMax: image.bytes,
    limits: { wholeMs: fetchMs, silenceMs: stallMs },
    onProgress: (bytes) => {
      came = bytes;
    },
  });
  if (!fetched.ok) return err(sentenceOf(fetched.error, image, came));
  return came < image.bytes ? err(cutOff(image, came)) : ok(undefined);
}

function sentenceOf(fault: DownloadFault, image: GuestImage, came: number): string {
  switch (fault.kind) {
    case "status":
      return `the source of the image answered ${fault.status}`;
    case "silent":
      return `the source of the image sent nothing for ${fault.silenceMs} ms`;
    case "slow":
      return `the source of the image took longer than ${fault.wholeMs} ms`;
    case "redirects":
      if (fault.most === 0) return "the source of the image sends elsewhere, and this one is fetched from nowhere else";
      return `the source of the image sends elsewhere more than ${fault.most} times`;
    case "no-http":
      return "the source of the image is no http or https address, or sends to one that is none";
    case "unreachable":
    case "broke-off":
      return `the image could not be fetched: ${fault.code}`;
    case "given-up":
      return "the image could not be fetched: it was given up";
    case "refused":
      return refusalOf(fault.fault, image, came);
    default:
      return assertNever(fault);
  }
}

function refusalOf({ reason, message }: ImageFault, image: GuestImage, came: number): string {
  if (reason === "too-large") return `the image is bigger than the ${image.bytes} bytes that were declared`;
  if (reason !== "wrong-digest") return `the image could not be kept: ${message}`;
  if (came < image.bytes) return cutOff(image, came);
  return "the image's content does not match its digest";
}

function cutOff({ bytes }: GuestImage, came: number): string {
  return `the image was cut off after ${came} of ${bytes} bytes`;
}
