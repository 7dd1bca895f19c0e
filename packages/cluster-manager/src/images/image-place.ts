import type { Settings } from "../settings.ts";
import { type ImageTickets, imageTickets } from "./image-ticket.ts";

const GIB = 2 ** 30;

/** Where the content of images is, and the addresses that hosts get for it. */
export type ImagePlace = {
  readonly store: { readonly folder: string; readonly bytesMax: number; readonly tickets: ImageTickets };
  readonly url: (digest: string, nowMs: number) => string;
};

/** By configuration; `base` is the manager's API as hosts reach it. `undefined` where users and admins add no images. */
export function imagePlace(
  { config, secret }: Pick<Settings, "config" | "secret">,
  base: () => string,
): ImagePlace | undefined {
  const { imageStore } = config;
  if (imageStore === undefined) return undefined;
  const tickets = imageTickets(secret);
  return {
    store: { folder: imageStore.folder, bytesMax: Math.floor(imageStore.capacityGiB * GIB), tickets },
    url: (digest, nowMs) => tickets.urlOf(base(), digest, nowMs),
  };
}
