import { digestOf, type Hold, type ImageContent } from "@muster/protocol";

/**
 * What makes two holds the same request (B1): everything that is asked for. The term is left out, since the borrower's
 * next leader repeats the question under its own, and the time for which to hold, since that is no part of the VM. Of an
 * image what it is counts, not where it may be fetched: a ticket in an address runs out before an approval does.
 */
export function burstDigest(
  hold: Omit<Hold, "digest" | "term" | "holdMs" | "image"> & { readonly image?: ImageContent | undefined },
): string {
  const { id, vm, name, project, owner, spec, leaseMs, hops, incoming, tunnel, image } = hold;
  const extras = {
    ...(incoming === undefined ? {} : { incoming }),
    ...(tunnel === undefined ? {} : { tunnel }),
    ...(image === undefined ? {} : { image: contentOf(image) }),
  };
  return digestOf({ id, vm, name, project, owner, spec, leaseMs, hops, ...extras });
}

function contentOf({ digest, format, bytes, virtualMiB }: ImageContent): ImageContent {
  return { digest, format, bytes, virtualMiB };
}
