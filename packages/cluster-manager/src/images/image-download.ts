/** Fetches an image from the address that was given for it: once, for the whole site. */
import { err, type Result, systemClock } from "@muster/base";
import { type DownloadImage, downloadImage as download, type ImageFault, imageFaultOf } from "@muster/disk-image";

/** Whoever runs the server may be far away and slow, but not for ever: only so many downloads run at once. */
const LIMITS = { wholeMs: 24 * 3_600_000, silenceMs: 60_000 };

export type Download = Omit<DownloadImage, "clock" | "limits">;

export async function downloadImage(wanted: Download): Promise<Result<{ readonly bytes: number }, ImageFault>> {
  const came = await download({ ...wanted, clock: systemClock, limits: LIMITS });
  return came.ok ? came : err(imageFaultOf(came.error));
}
