/** Which image a VM gets: the tag is resolved when the request is accepted, and a tag that moves later changes nothing. */
import { err, ok, type Result } from "@muster/base";
import { type Refusal, refusal, type VmSpec } from "@muster/protocol";
import type { SitePolicy } from "../core/core.ts";
import { isGranted } from "../networks/network-choice.ts";
import type { ImageCatalogue } from "./image-catalogue.ts";
import { type ImageRecord, isAvailable, type PresentImage } from "./image-record.ts";

/** An image of the catalogue, or one that the site knows by name only and whose content is the hosts' affair. */
export type ImageChoice = { readonly kind: "content"; readonly image: PresentImage } | { readonly kind: "name" };

type Choosing = { readonly images: ImageCatalogue; readonly configured: SitePolicy["images"] };

/** `project`: of the user who asks; absent for a peer, which gets what is there for everybody. */
export function chooseImage(
  { images, configured }: Choosing,
  spec: VmSpec,
  project: string | undefined,
): Result<ImageChoice, Refusal> {
  const record = images.find(spec.image);
  if (record !== undefined && isGrantedTo(record, project)) {
    const refused = refuseState(record, spec.image) ?? refuseSize(record, spec);
    if (refused !== undefined) return err(refused);
    if (isAvailable(record)) return ok({ kind: "content", image: record });
  }
  if (configured.some(({ tag, digest }) => tag === spec.image || digest === spec.image)) return ok({ kind: "name" });
  return err(unknownImage(images, configured, spec.image, project));
}

/** All names under which a peer may ask for an image of this site. */
export function namesForPeers({ images, configured }: Choosing): string[] {
  const own = [...images.records.values()].filter((record) => isAvailable(record) && record.projects === "*");
  return [
    ...configured.flatMap(({ tag, digest }) => (digest === undefined ? [tag] : [tag, digest])),
    ...own.flatMap(({ tags, digest }) => [...tags, digest]),
  ];
}

function isGrantedTo({ projects }: ImageRecord, project: string | undefined): boolean {
  return project === undefined ? projects === "*" : isGranted(projects, project);
}

function refuseState(record: ImageRecord, name: string): Refusal | undefined {
  if (isAvailable(record)) return undefined;
  if (record.withdrawn)
    return refusal("policy-violation", "image-withdrawn", `image ${name} was withdrawn: choose another one`, {
      field: "spec.image",
    });
  return refusal("policy-violation", "image-pending", `image ${name} is not available yet: ${pendingLine(record)}`, {
    field: "spec.image",
  });
}

/** What a pending image waits for. */
export function pendingLine({ approved, content, source }: ImageRecord): string {
  if (content.kind === "failed") return `it could not be fetched: ${content.message}`;
  if (!approved) return "an admin has to approve it";
  return source.kind === "url" ? "it is being fetched" : "its content was not uploaded yet";
}

function refuseSize({ minMemoryMiB = 0, content, tags, digest }: ImageRecord, spec: VmSpec): Refusal | undefined {
  const name = tags[0] ?? digest;
  if (spec.memoryMiB < minMemoryMiB)
    return refusal(
      "policy-violation",
      "memory-below-image",
      `image ${name} needs ${minMemoryMiB} MiB of memory, ${spec.memoryMiB} are asked for: ask for more`,
      { field: "spec.memoryMiB" },
    );
  return content.kind === "present" ? diskRefusal(spec, content.virtualMiB) : undefined;
}

/** Why the VM's disk is none for an image of this size. */
export function diskRefusal({ image, diskGiB }: VmSpec, virtualMiB: number): Refusal | undefined {
  if (diskGiB * 1_024 < virtualMiB)
    return refusal(
      "policy-violation",
      "disk-below-image",
      `the disk of image ${image} has ${virtualMiB} MiB: ask for at least ${Math.ceil(virtualMiB / 1_024)} GiB`,
      { field: "spec.diskGiB" },
    );
  return undefined;
}

function unknownImage(
  images: ImageCatalogue,
  configured: SitePolicy["images"],
  name: string,
  project: string | undefined,
): Refusal {
  const own = [...images.records.values()].filter((record) => isAvailable(record) && isGrantedTo(record, project));
  const tags = [...configured.map(({ tag }) => tag), ...own.flatMap((record) => record.tags)];
  const known = [...new Set(tags)].slice(0, 10);
  const remedy = known.length === 0 ? "the site has none" : `known here: ${known.join(", ")}`;
  return refusal("policy-violation", "unknown-image", `there is no image ${name}; ${remedy}`, { field: "spec.image" });
}
