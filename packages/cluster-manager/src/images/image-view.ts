import type { ImageView } from "@muster/protocol";
import type { ImageCatalogue } from "./image-catalogue.ts";
import { pendingLine } from "./image-choice.ts";
import { type ImageRecord, isAvailable } from "./image-record.ts";

type Host = { readonly name: string; readonly capacity: { readonly images: readonly string[] } | undefined };

export function imageView(images: ImageCatalogue, record: ImageRecord, hosts: Iterable<Host>): ImageView {
  const { digest, tags, format, minMemoryMiB, source, projects, approved, withdrawn, content, user } = record;
  const state = withdrawn ? "withdrawn" : isAvailable(record) ? "available" : "pending";
  const having = [...hosts].filter(({ capacity }) => capacity?.images.includes(digest) === true);
  return {
    digest,
    tags: [...tags],
    state,
    ...(state === "pending" ? { reason: pendingLine(record) } : {}),
    format,
    ...(content.kind === "present" ? { bytes: content.bytes, virtualMiB: content.virtualMiB } : {}),
    ...(minMemoryMiB === undefined ? {} : { minMemoryMiB }),
    source,
    projects,
    approved,
    user,
    addedAt: new Date(record.addedAtMs).toISOString(),
    hosts: having.map(({ name }) => name).sort(),
    vms: images.vmsOf(digest),
  };
}
