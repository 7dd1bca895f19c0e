/** Image and networks of a VM together: what a request wishes, what a peer's VM gets, and what is reserved for it. */
import { err, ok, type Result } from "@muster/base";
import type { WishExtras } from "@muster/broker";
import { type Refusal, refusal, type TunnelReach, type VmCreate, type VmSpec } from "@muster/protocol";
import type { SitePolicy } from "../core/core.ts";
import type { VmRecord } from "../core/records.ts";
import type { NetworkBook } from "../networks/network-book.ts";
import { chooseNetworks } from "../networks/network-choice.ts";
import type { NetworkRecord } from "../networks/network-record.ts";
import type { ImageCatalogue } from "./image-catalogue.ts";
import { chooseImage, diskRefusal } from "./image-choice.ts";

/** Absent digest: the image is known by name only, and the VM gets no interfaces from here. */
export type GuestChoice = { readonly imageDigest: string | undefined; readonly networks: readonly NetworkRecord[] };

type Site = { readonly images: ImageCatalogue; readonly networks: NetworkBook };
type Policy = Pick<SitePolicy, "images">;

export function chooseGuest(
  { images, networks }: Site,
  policy: Policy,
  spec: VmSpec,
  project: string,
): Result<GuestChoice, Refusal> {
  const image = chooseImage({ images, configured: policy.images }, spec, project);
  if (!image.ok) return image;
  const chosen = chooseNetworks(networks, spec.networks, project);
  if (!chosen.ok) return chosen;
  if (image.value.kind === "content") return ok({ imageDigest: image.value.image.digest, networks: chosen.value });
  if (spec.networks === undefined) return ok({ imageDigest: undefined, networks: [] });
  const message = `image ${spec.image} is but a name at this site: a VM on a network needs an image of the catalogue`;
  return err(refusal("policy-violation", "image-without-content", message, { field: "spec.networks" }));
}

/**
 * A peer's VM gets what is there for everybody, on the default network: the networks it names are the peer's own. An image that
 * the site does not know at all may be one that its hosts fetch from the peer; one that it keeps from peers is not.
 */
export function chooseLentGuest(
  { images, networks }: Site,
  policy: Policy,
  spec: VmSpec,
  { tunnel, image: fetched }: WishExtras = {},
): Result<GuestChoice, Refusal> {
  const image = chooseImage({ images, configured: policy.images }, spec, undefined);
  if (!image.ok) {
    if (fetched === undefined || images.find(spec.image) !== undefined) return image;
    const small = diskRefusal(spec, fetched.virtualMiB);
    return small === undefined ? ok(lentWith(fetched.digest, networks, tunnel)) : err(small);
  }
  if (image.value.kind === "name" && tunnel !== undefined) {
    const message = `image ${spec.image} is but a name at this site: a VM on a network needs an image of the catalogue`;
    return err(refusal("policy-violation", "image-without-content", message, { field: "tunnel" }));
  }
  if (image.value.kind === "name") return ok({ imageDigest: undefined, networks: [] });
  return ok(lentWith(image.value.image.digest, networks, tunnel));
}

/** On its home network, and on none of ours; else on the default one. */
function lentWith(imageDigest: string, { byDefault }: NetworkBook, tunnel: TunnelReach | undefined): GuestChoice {
  return { imageDigest, networks: tunnel !== undefined || byDefault === undefined ? [] : [byDefault] };
}

/** What goes into the VM's record in the commit that accepts it. What is refused reserves nothing. */
export function reservedFor(
  { networks }: Site,
  chosen: Result<GuestChoice, Refusal>,
  vm: string,
  nowMs: number,
): Pick<VmRecord, "imageDigest" | "nics"> {
  if (!chosen.ok || chosen.value.imageDigest === undefined) return {};
  return { imageDigest: chosen.value.imageDigest, nics: networks.reserve(vm, chosen.value.networks, nowMs) };
}

/** The digest that the image of such a request stands for now. */
export function imageDigestOf(
  { images }: Site,
  policy: Policy,
  { spec, project }: Pick<VmCreate, "spec" | "project">,
): string | undefined {
  const image = chooseImage({ images, configured: policy.images }, spec, project);
  return image.ok && image.value.kind === "content" ? image.value.image.digest : undefined;
}
