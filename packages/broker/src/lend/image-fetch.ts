/** Images that the lender has not: fetched from addresses of the borrower's where the policy allows it, and from nowhere else. */
import { type HoldImage, type ImageFetch, type Refusal, refusal } from "@muster/protocol";
import type { LenderPolicy } from "../peering/peering.ts";

const GIB = 2 ** 30;

/** Why the image is not fetched; `undefined` where it may be. No address is named: it may carry a ticket (S3). */
export function fetchRefusal({ imageFetch }: LenderPolicy, image: HoldImage): Refusal | undefined {
  if (imageFetch === undefined) return notFetched("images of your site are not fetched here", "image");
  if (image.bytes > imageFetch.maxGiB * GIB) {
    const message = `the image has ${inGiB(image.bytes)} GiB; at most ${imageFetch.maxGiB} GiB are fetched for your site`;
    return notFetched(message, "image.bytes");
  }
  if (urlsAllowed({ imageFetch }, image).length === 0)
    return notFetched(
      `the image is not at an address from which it may be fetched; ${fetchLine(imageFetch)}`,
      "image.urls",
    );
  return undefined;
}

/** Those of the image's addresses from which the policy lets it be fetched, in their order. */
export function urlsAllowed({ imageFetch }: Pick<LenderPolicy, "imageFetch">, { urls }: HoldImage): string[] {
  const prefixes = imageFetch?.urls ?? [];
  return urls.filter((url) => prefixes.some((prefix) => isBelow(url, prefix)));
}

/** What the policy allows, for people. */
export function fetchLine({ urls, maxGiB }: ImageFetch): string {
  return `images up to ${maxGiB} GiB are fetched from ${urls.join(", ")}`;
}

/** Compared as parsed: `https://good.example` is no beginning of `https://good.example.evil/`, nor of `https://good.example@evil/`. */
function isBelow(text: string, prefix: string): boolean {
  const url = URL.parse(text);
  const above = URL.parse(prefix);
  if (url === null || above === null || url.username !== "" || url.password !== "") return false;
  const folder = above.pathname.endsWith("/") ? above.pathname : `${above.pathname}/`;
  return url.origin === above.origin && (url.pathname === above.pathname || url.pathname.startsWith(folder));
}

function notFetched(message: string, field: string): Refusal {
  return refusal("policy-violation", "image-not-fetched", message, { field });
}

function inGiB(bytes: number): string {
  return (bytes / GIB).toFixed(2);
}
